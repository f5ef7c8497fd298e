"""A WebSocket service by the library `websockets`."""

import asyncio
import http

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def talk(socket):
    path = socket.request.path
    if path == "/ping":
        # The visitor's library answers by itself.
        await (await socket.ping(b"are you there"))
        await socket.send("it is")
    if path == "/close":
        await socket.close(4002, "enough of it")
    if path == "/about":
        extensions = [extension.name for extension in socket.protocol.extensions]
        await socket.send(f"{socket.subprotocol} {extensions} {socket.request.headers.get('Origin')}")
    if path == "/die":
        await socket.send("dying")
        socket.transport.abort()
    try:
        async for message in socket:
            if path == "/pieces":
                half = len(message) // 2
                await socket.send(iter([message[:half], message[half:]]))
            else:
                await socket.send(message)
    except ConnectionClosed:
        pass
    print("closed", path, socket.close_code, socket.close_reason)


async def refuse(socket, request):
    if request.path == "/forbidden":
        return socket.respond(http.HTTPStatus.FORBIDDEN, "not you\n")


def prefer(_, offered):
    return next((known for known in ("chat.v2", "chat.v1") if known in offered), None)


async def main():
    settings = {"max_size": 4 * 2**20, "ping_interval": None, "process_request": refuse, "select_subprotocol": prefer}
    async with serve(talk, "127.0.0.1", 0, **settings) as server:
        print("listening 127.0.0.1:%d" % server.sockets[0].getsockname()[1])
        await server.serve_forever()


asyncio.run(main())
