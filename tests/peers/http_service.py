"""An HTTP/1.1 service on Python's own server."""

import hashlib
import http.server
import json
import sys
import urllib.parse


class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Small pieces must not wait for each other.
    disable_nagle_algorithm = True

    def log_message(self, *_):
        pass

    def route(self):
        return urllib.parse.urlsplit(self.path).path

    def handle_expect_100(self):
        if self.route() == "/refuse":
            # The answer comes instead of a 100, and the body is never read.
            self.close_connection = True
            self.answer(413, b"too much\n", [("Connection", "close")])
            return False
        print("expected", self.path)
        return super().handle_expect_100()

    def answer(self, status, body, fields=()):
        self.send_response(status)
        for name, value in fields:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def body(self):
        if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self.rfile.read(size))
            assert self.rfile.readline() == b"\r\n"
        while self.rfile.readline() not in (b"\r\n", b""):
            pass
        return b"".join(pieces)

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        match self.route():
            case "/hello":
                self.answer(200, b"hello from Python\n", [("Set-Cookie", "a=1; Path=/"), ("Set-Cookie", "b=2")])
            case "/chunks":
                self.chunked([b"x" * 1000] * 1000, [])
            case "/trailers":
                pieces = [b"one,", b"two,", b"three"]
                self.chunked(pieces, [("X-Sum", hashlib.sha256(b"".join(pieces)).hexdigest())])
            case "/headers":
                self.answer(200, json.dumps(self.headers.items()).encode())
            case _:
                self.answer(404, b"no such page\n")

    def chunked(self, pieces, trailers):
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        for name, _ in trailers:
            self.send_header("Trailer", name)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
            self.wfile.flush()
        self.wfile.write(b"0\r\n")
        for name, value in trailers:
            self.wfile.write(f"{name}: {value}\r\n".encode())
        self.wfile.write(b"\r\n")

    def do_POST(self):
        body = self.body()
        framing = self.headers.get("Transfer-Encoding") or "length"
        self.answer(200, body, [("X-Framing", framing), ("X-Sha", hashlib.sha256(body).hexdigest())])

    do_PUT = do_POST


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print("listening 127.0.0.1:%d" % server.server_address[1])
sys.stdout.flush()
server.serve_forever()
