"""A peer made from nothing but the published spec of yamux, and strict about what the other end sends.

    yamux_peer.py server STREAMS BYTES SEED         prints its port, takes one connection
    yamux_peer.py client PORT STREAMS BYTES SEED

It echoes every stream that the other end opens, and ends its way behind the end of the other. One that begins with
"reset me" it resets. It opens STREAMS streams itself, sends BYTES of seeded data on each, ends them, and checks the echo.
The first of them ends last, behind a GO_AWAY: what is open goes on. It asks for pings, which must be answered.

The other end closes the connection. Then all must be complete: prints a line of what it saw, and exits with 0. Whatever
is wrong before that is printed, with 1 as exit code.
"""

import random
import select
import socket
import struct
import sys

DATA, WINDOW_UPDATE, PING, GO_AWAY = range(4)
SYN, ACK, FIN, RST = 1, 2, 4, 8
WINDOW = 256 * 1024
# Bytes that wait for the socket, from which on no more are made.
UNSENT_MAX = 256 * 1024
PINGS = 4


class Violation(Exception):
    pass


def need(condition, *what):
    if not condition:
        raise Violation(" ".join(str(part) for part in what))


class Stream:
    def __init__(self, number, ours):
        self.number, self.ours = number, ours
        # The flag of its next frame, which announces or accepts it.
        self.announce = SYN if ours else ACK
        self.acknowledged = not ours
        self.send_window = self.receive_window = WINDOW
        self.consumed = 0
        # To be sent, and what has to come back.
        self.outbox, self.expected = bytearray(), b""
        self.checked = 0
        self.may_end = True
        self.fin_sent = self.fin_received = self.reset = False

    def is_done(self):
        return self.reset or (self.fin_sent and self.fin_received)


class Peer:
    def __init__(self, sock, client, streams, length, seed):
        self.sock, self.client = sock, client
        self.random = random.Random(seed)
        self.received, self.unsent = bytearray(), bytearray()
        self.streams, self.own = {}, []
        self.pings, self.pings_answered, self.pings_received = {}, 0, 0
        self.resets = self.frames = 0
        self.gone_away = False
        self.next_id = 1 if client else 2
        for _ in range(PINGS):
            self.ping()
        for _ in range(streams):
            self.open(length)

    # What we send.

    def frame(self, kind, flags, number, length, payload=b""):
        self.unsent += struct.pack(">BBHII", 0, kind, flags, number, length) + payload

    def ping(self):
        value = self.random.getrandbits(32)
        self.pings[value] = True
        self.frame(PING, SYN, 0, value)

    def open(self, length):
        stream = Stream(self.next_id, True)
        self.next_id += 2
        stream.expected = self.random.randbytes(length)
        stream.outbox += stream.expected
        stream.may_end = bool(self.own)
        self.streams[stream.number] = stream
        # Both forms of a SYN: on a window update, and on data.
        if len(self.own) % 2 == 0:
            self.frame(WINDOW_UPDATE, self.take_announce(stream), stream.number, 0)
        self.own.append(stream)

    def take_announce(self, stream):
        flag, stream.announce = stream.announce, 0
        return flag

    def send_more(self):
        """One frame of each stream in turn, while the socket takes them."""
        progress = True
        while progress and len(self.unsent) < UNSENT_MAX:
            progress = False
            for stream in self.streams.values():
                progress |= self.send_one(stream)
        if self.own and not self.gone_away and all(s.is_done() for s in self.own[1:]):
            self.gone_away = True
            self.frame(GO_AWAY, 0, 0, 0)
            self.ping()
            self.own[0].may_end = True
            self.send_more()

    def send_one(self, stream):
        if stream.reset or stream.fin_sent:
            return False
        n = min(len(stream.outbox), stream.send_window, self.random.randint(1, 32 * 1024))
        complete = stream.ours or stream.fin_received
        last = complete and stream.may_end and n == len(stream.outbox)
        if n == 0 and not last:
            return False
        payload = bytes(stream.outbox[:n])
        del stream.outbox[:n]
        stream.send_window -= n
        stream.fin_sent = last
        flags = self.take_announce(stream) | (FIN if last else 0)
        self.frame(DATA, flags, stream.number, n, payload)
        if not stream.ours:
            self.consume(stream, n)
        return True

    def consume(self, stream, n):
        stream.consumed += n
        if stream.consumed >= self.random.randint(16 * 1024, WINDOW // 2) and not stream.fin_received:
            self.frame(WINDOW_UPDATE, self.take_announce(stream), stream.number, stream.consumed)
            stream.receive_window += stream.consumed
            stream.consumed = 0

    # What we receive.

    def receive(self, piece):
        self.received += piece
        while len(self.received) >= 12:
            version, kind, flags, number, length = struct.unpack_from(">BBHII", self.received)
            need(version == 0, "version", version)
            need(kind <= GO_AWAY, "kind", kind)
            need(flags < 16, "flags", flags)
            body = length if kind == DATA else 0
            if kind == DATA:
                need(length <= 16 * 1024 * 1024, "a frame of", length)
            if len(self.received) < 12 + body:
                return
            payload = bytes(self.received[12 : 12 + body])
            del self.received[: 12 + body]
            self.frames += 1
            if kind == PING:
                self.on_ping(flags, number, length)
            elif kind == GO_AWAY:
                need(number == 0 and flags == 0, "GO_AWAY on", number, "flags", flags)
                need(length == 0, "the other end gave up, code", length)
            else:
                self.on_stream(kind, flags, number, length, payload)

    def on_ping(self, flags, number, value):
        need(number == 0, "ping on stream", number)
        need(flags in (SYN, ACK), "ping with flags", flags)
        if flags == SYN:
            self.pings_received += 1
            self.frame(PING, ACK, 0, value)
        else:
            need(self.pings.pop(value, False), "an answer to no ping:", value)
            self.pings_answered += 1

    def on_stream(self, kind, flags, number, length, payload):
        where = f"stream {number}, kind {kind}, flags {flags}, length {length}:"
        need(number != 0, where, "stream 0 is the session")
        need(flags & (SYN | ACK) != SYN | ACK, where, "SYN and ACK")
        need(flags & (FIN | RST) != FIN | RST, where, "FIN and RST")
        if flags & SYN:
            need((number % 2 == 0) == self.client, where, "id of the wrong side")
            need(number not in self.streams, where, "opened twice")
            need(not self.gone_away, where, "opened behind a GO_AWAY")
            self.streams[number] = Stream(number, False)
        stream = self.streams.get(number)
        need(stream is not None, where, "it was never opened")
        if flags & ACK:
            need(stream.ours, where, "ACK of its own stream")
            need(not stream.acknowledged, where, "second ACK")
            stream.acknowledged = True
        elif not flags & RST:
            need(stream.acknowledged, where, "not acknowledged")
        if stream.reset:
            return  # It may have crossed our reset.
        if kind == DATA:
            self.on_data(stream, where, flags, payload)
        else:
            stream.send_window += length
            need(stream.send_window < 1 << 32, where, "more credit than 32 bits")
        if flags & FIN:
            need(not stream.fin_received, where, "second FIN")
            stream.fin_received = True
            if stream.ours:
                need(stream.checked == len(stream.expected), where, "only", stream.checked, "came back")
        if flags & RST:
            need(not stream.ours, where, "a stream of ours was reset")
            stream.reset = True
            self.resets += 1

    def on_data(self, stream, where, flags, payload):
        need(payload or flags, where, "a frame that says nothing")
        need(not (payload and stream.fin_received), where, "data behind a FIN")
        need(len(payload) <= stream.receive_window, where, "only", stream.receive_window, "are allowed")
        stream.receive_window -= len(payload)
        if stream.ours:
            end = stream.checked + len(payload)
            need(payload == stream.expected[stream.checked : end], where, "not what was sent, at", stream.checked)
            stream.checked = end
            self.consume(stream, len(payload))
            return
        if payload.startswith(b"reset me"):
            self.frame(WINDOW_UPDATE, RST | self.take_announce(stream), stream.number, 0)
            stream.reset = True
            return
        stream.outbox += payload

    def run(self):
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        while True:
            self.send_more()
            writers = [self.sock] if self.unsent else []
            readable, writable, _ = select.select([self.sock], writers, [], 15)
            need(readable or writable, "nothing came for too long")
            if writable:
                del self.unsent[: self.sock.send(self.unsent)]
            if readable:
                piece = self.sock.recv(64 * 1024)
                if not piece:
                    return
                self.receive(piece)

    def finish(self):
        need(not self.received, "the connection ended within a frame")
        need(not self.pings, "pings without an answer:", len(self.pings))
        need(self.pings_received > 0, "no ping came")
        for stream in self.streams.values():
            need(stream.is_done(), "stream", stream.number, "did not end")
        theirs = len(self.streams) - len(self.own)
        print(f"echoed={theirs} checked={len(self.own)} resets={self.resets} pongs={self.pings_answered}")


def connect(arguments):
    if arguments[0] == "client":
        return socket.create_connection(("127.0.0.1", int(arguments[1])), 15), arguments[2:]
    listener = socket.create_server(("127.0.0.1", 0))
    listener.settimeout(15)
    print(listener.getsockname()[1], flush=True)
    return listener.accept()[0], arguments[1:]


def main(arguments):
    sock, rest = connect(arguments)
    streams, length, seed = (int(argument) for argument in rest)
    peer = Peer(sock, arguments[0] == "client", streams, length, seed)
    try:
        peer.run()
        peer.finish()
    except (Violation, OSError) as error:
        print(f"{error} (of {arguments}, frame {peer.frames})", flush=True)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
