"""A visitor by the library `websockets`: ws_client.py ADDRESS HOST AUTHORITY|- WHAT"""

import asyncio
import os
import ssl
import sys

from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

address, host, authority, what = sys.argv[1:]
to, port = address.rsplit(":", 1)
secure = {}
if authority != "-":
    secure = {"ssl": ssl.create_default_context(cafile=authority), "server_hostname": host}


def visit(path, **more):
    scheme = "wss" if secure else "ws"
    settings = {"host": to, "port": int(port), "max_size": 4 * 2**20, "open_timeout": 10, "ping_interval": None, "proxy": None}
    return connect(f"{scheme}://{host}:{port}{path}", **settings, **secure, **more)


def same(is_, want):
    assert is_ == want, f"{is_!r:.200} is not {want!r:.200}"


async def echoes(path, **more):
    async with visit(path, **more) as socket:
        for message in ("hello", "", "ü" * 1000, b"", os.urandom(2**20), "compress me " * 100_000):
            await socket.send(message)
            assert await socket.recv() == message
        await socket.send(iter(["in ", "three ", "pieces"]))
        same(await socket.recv(), "in three pieces")
        await (await socket.ping(b"ping"))
        await socket.close(4001, "bye")
    same((socket.close_code, socket.close_reason), (4001, "bye"))
    return [extension.name for extension in socket.protocol.extensions]


async def plain():
    """To a service that knows no extensions."""
    same(await echoes("/ws"), [])


async def peer():
    """To the same library."""
    same(await echoes("/echo", compression="deflate"), ["permessage-deflate"])
    same(await echoes("/echo", compression=None), [])
    same(await echoes("/pieces", compression="deflate"), ["permessage-deflate"])
    async with visit("/pieces") as socket:
        await socket.send("a" * 2**20)
        same(await socket.recv(), "a" * 2**20)
    async with visit("/ping") as socket:
        same(await socket.recv(), "it is")
    async with visit("/about", subprotocols=["chat.v1", "chat.v2"], origin="https://a.example") as socket:
        same(await socket.recv(), "chat.v2 ['permessage-deflate'] https://a.example")
        same(socket.subprotocol, "chat.v2")
    async with visit("/close") as socket:
        try:
            await socket.recv()
        except ConnectionClosed:
            pass
    same((socket.close_code, socket.close_reason), (4002, "enough of it"))
    async with visit("/die") as socket:
        same(await socket.recv(), "dying")
        try:
            await socket.recv()
        except ConnectionClosed:
            pass
    same(socket.close_code, 1006)
    try:
        async with visit("/forbidden"):
            raise AssertionError("not refused")
    except InvalidStatus as refused:
        same((refused.response.status_code, refused.response.body), (403, b"not you\n"))


asyncio.run(asyncio.wait_for({"plain": plain, "peer": peer}[what](), 18))
print("all ok")
