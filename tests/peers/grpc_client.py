"""A visitor by grpcio: grpc_client.py ADDRESS HOST AUTHORITY|- all|cancel|down|unknown"""

import os
import signal
import sys
import threading

import grpc

address, host, authority, what = sys.argv[1:]
LARGEST = 16 * 1024 * 1024
options = [("grpc.default_authority", host), ("grpc.max_receive_message_length", LARGEST)]
if authority == "-":
    channel = grpc.insecure_channel(address, options)
else:
    options.append(("grpc.ssl_target_name_override", host))
    with open(authority, "rb") as file:
        channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(file.read()), options)

unary = channel.unary_unary("/peer.Echo/Unary")
fail = channel.unary_unary("/peer.Echo/Fail")
collect = channel.stream_unary("/peer.Echo/Collect")
count = channel.unary_stream("/peer.Echo/Count")
chat = channel.stream_stream("/peer.Echo/Chat")
hang = channel.unary_stream("/peer.Echo/Hang")
# Of every call but those that are to run into it.
LIMIT = 15


def same(is_, want):
    assert is_ == want, f"{is_!r} is not {want!r}"


def error(call):
    try:
        call()
    except grpc.RpcError as error:
        return error
    raise AssertionError("no error")


def metadata_both_ways():
    raw = bytes(range(256))
    message, call = unary.with_call(b"hello", metadata=[("x-text", "a, b"), ("x-bytes-bin", raw)], timeout=LIMIT)
    same(message, b"hello")
    fields = dict(call.initial_metadata()) | dict(call.trailing_metadata())
    same((fields["x-seen-bin"], call.code()), (raw, grpc.StatusCode.OK))
    # The deadline, which tells the service how long it has, and the last of those that are told.
    assert fields["x-seen"][-1] in "munSMH", fields


def empty_message():
    same(unary(b"", timeout=LIMIT), b"")


def large_message():
    message = os.urandom(1024) * (8 * 1024)
    assert unary(message, timeout=LIMIT) == message


def client_streaming():
    same(collect((b"x" * 1000 for _ in range(1000)), timeout=LIMIT), b"1000 1000000")
    same(collect(iter([]), timeout=LIMIT), b"0 0")


def server_streaming():
    same([int(n) for n in count(b"100", timeout=LIMIT)], list(range(100)))
    same(list(count(b"0", timeout=LIMIT)), [])


def bidirectional():
    # Each message waits for the answer to the one before: nothing may be held back on the way.
    turn = threading.Semaphore(1)

    def messages():
        for n in range(50):
            assert turn.acquire(timeout=LIMIT)
            yield b"%d" % n

    for n, answer in enumerate(chat(messages(), timeout=LIMIT)):
        same(answer, b"%d" % n)
        turn.release()
    same(n, 49)


def error_of_trailers_only():
    failed = error(lambda: fail(b"", timeout=LIMIT))
    same((failed.code(), failed.details()), (grpc.StatusCode.INVALID_ARGUMENT, "not so: ü, 100 %"))
    fields = dict(failed.trailing_metadata())
    same((fields["grpc-status-details-bin"], fields["x-why"]), (b"\x00\x01\xff", "because"))


def error_after_messages():
    stream, seen = count(b"101", timeout=LIMIT), []
    failed = error(lambda: seen.extend(stream))
    same((seen, failed.code(), failed.details()), ([b"0", b"1", b"2"], grpc.StatusCode.ABORTED, "three are enough"))


def deadline():
    failed = error(lambda: list(hang(b"", timeout=0.5)))
    same(failed.code(), grpc.StatusCode.DEADLINE_EXCEEDED)


def unknown_method():
    failed = error(lambda: channel.unary_unary("/peer.Echo/None")(b"", timeout=LIMIT))
    same(failed.code(), grpc.StatusCode.UNIMPLEMENTED)


def many_at_once():
    calls = [unary.future(b"%d" % n, timeout=LIMIT) for n in range(200)]
    same([call.result() for call in calls], [b"%d" % n for n in range(200)])


match what:
    case "all":
        for scenario in (
            metadata_both_ways,
            empty_message,
            large_message,
            client_streaming,
            server_streaming,
            bidirectional,
            error_of_trailers_only,
            error_after_messages,
            deadline,
            unknown_method,
            many_at_once,
        ):
            scenario()
            print("ok", scenario.__name__)
        print("all ok")
    case "cancel":
        call = hang(b"")
        same(next(call), b"hanging")
        print("hanging")
        call.cancel()
        print("cancelled")
        # The connection stays: it is the call that has ended.
        signal.pause()
    case _:
        failed = error(lambda: unary(b"hello", timeout=LIMIT))
        fields = dict(failed.initial_metadata() or ()) | dict(failed.trailing_metadata() or ())
        print(failed.code().name, fields.get("x-tunnel-error"), failed.details())
