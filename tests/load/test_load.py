"""The load client counts a lost request as lost, a race as a race, and a connection closed in time as neither."""

import asyncio
from collections.abc import Awaitable, Callable

from troth.host.load import Load, Target

Handler = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def run(handler: Handler, requests: int, connections: int = 2) -> Load:
    async def guarded(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await handler(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(guarded, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server:
        load = Load(Target(port, "/"), connections, bytes.decode)
        async with load:
            assert await load.reached(requests, timeout=20)
    return load


async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, reply: bytes = ANSWER) -> None:
    await reader.readuntil(b"\r\n\r\n")
    writer.write(reply)
    await writer.drain()


async def test_every_answered_request_counts_once() -> None:
    async def steady(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await answer(reader, writer)

    load = await run(steady, 50)
    assert load.tally.lost == 0
    assert load.tally.answered == load.tally.requests >= 50
    assert load.tally.connections == 2
    assert set(load.tally.last_seen) == {"ok"}


async def test_announced_close_loses_nothing() -> None:
    async def polite(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer, ANSWER.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))

    load = await run(polite, 20)
    assert load.tally.lost == 0
    assert load.tally.connections >= 20


async def test_close_under_a_request_on_a_reused_connection_is_a_race() -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        await reader.readuntil(b"\r\n\r\n")

    load = await run(rude, 20)
    assert load.tally.races > 0
    assert load.tally.failed == 0


async def test_close_without_answer_on_a_fresh_connection_is_a_failure() -> None:
    async def refuse(reader: asyncio.StreamReader, _: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")

    load = await run(refuse, 10)
    assert load.tally.races == 0
    assert load.tally.failures["connection closed without an answer"] >= 10


async def test_truncated_answer_is_a_failure_and_not_a_race() -> None:
    async def truncate(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await answer(reader, writer)
        await answer(reader, writer, ANSWER[:-1])

    load = await run(truncate, 10)
    assert load.tally.failures["answer cut short"] > 0
    assert load.tally.races == 0


async def test_error_status_is_a_failure() -> None:
    async def broken(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await answer(reader, writer, b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\n\r\n")

    load = await run(broken, 10)
    assert load.tally.failures["status 502"] == load.tally.requests
    assert load.tally.answered == 0


async def test_chunked_answers_are_read_whole() -> None:
    reply = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"

    async def chunked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while True:
            await answer(reader, writer, reply)

    load = await run(chunked, 10)
    assert set(load.tally.last_seen) == {"abc"}


async def test_nothing_listening_is_a_failure() -> None:
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    server.close()
    await server.wait_closed()
    load = Load(Target(port, "/"), 1, bytes.decode, pause=0.001)
    async with load:
        assert await load.reached(3, timeout=10)
    assert load.tally.failed == load.tally.requests
    assert load.tally.answered == 0
