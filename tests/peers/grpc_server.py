"""A service by grpcio, peer.Echo with messages of bytes: grpc_server.py NAME [CERTIFICATE KEY]

SIGUSR1 makes its health NOT_SERVING, SIGUSR2 SERVING."""

import concurrent.futures
import signal
import sys
import threading

import grpc
from grpc_health.v1 import health, health_pb2, health_pb2_grpc

name, *tls = sys.argv[1:]
# Before there is a thread that a signal could end.
waiting = {signal.SIGUSR1, signal.SIGUSR2}
signal.pthread_sigmask(signal.SIG_BLOCK, waiting)
LARGEST = 16 * 1024 * 1024


def unary(message, context):
    seen = dict(context.invocation_metadata())
    context.send_initial_metadata([("x-seen", seen.get("x-text", "")), ("x-name", name)])
    left = context.time_remaining()
    context.set_trailing_metadata([
        ("x-seen-bin", seen.get("x-bytes-bin", b"")),
        ("x-deadline", "none" if left is None else "%d" % left),
    ])
    return message


def fail(_, context):
    context.set_trailing_metadata([("grpc-status-details-bin", b"\x00\x01\xff"), ("x-why", "because")])
    context.abort(grpc.StatusCode.INVALID_ARGUMENT, "not so: ü, 100 %")


def collect(messages, _):
    sizes = [len(message) for message in messages]
    return b"%d %d" % (len(sizes), sum(sizes))


def count(message, context):
    asked = int(message)
    for n in range(asked):
        if n == 3 and asked > 100:
            context.abort(grpc.StatusCode.ABORTED, "three are enough")
        yield b"%d" % n


def chat(messages, _):
    yield from messages


def hang(message, context):
    over = threading.Event()
    if context.add_callback(over.set):
        print("begun", message.decode())
        yield b"hanging"
        over.wait()
    print("given up", message.decode())


def silence(message, context):
    for _ in hang(message, context):
        pass
    return b""


echo = grpc.method_handlers_generic_handler("peer.Echo", {
    "Unary": grpc.unary_unary_rpc_method_handler(unary),
    "Silence": grpc.unary_unary_rpc_method_handler(silence),
    "Fail": grpc.unary_unary_rpc_method_handler(fail),
    "Collect": grpc.stream_unary_rpc_method_handler(collect),
    "Count": grpc.unary_stream_rpc_method_handler(count),
    "Chat": grpc.stream_stream_rpc_method_handler(chat),
    "Hang": grpc.unary_stream_rpc_method_handler(hang),
})
options = [("grpc.max_receive_message_length", LARGEST), ("grpc.so_reuseport", 0)]
server = grpc.server(concurrent.futures.ThreadPoolExecutor(32), [echo], options=options)
servicer = health.HealthServicer()
health_pb2_grpc.add_HealthServicer_to_server(servicer, server)
if tls:
    certificate, key = (open(path, "rb").read() for path in tls)
    port = server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, certificate)]))
else:
    port = server.add_insecure_port("127.0.0.1:0")
server.start()
print("listening 127.0.0.1:%d" % port)
while True:
    sick = signal.sigwait(waiting) == signal.SIGUSR1
    status = health_pb2.HealthCheckResponse
    servicer.set("", status.NOT_SERVING if sick else status.SERVING)
    print("sick" if sick else "well")
