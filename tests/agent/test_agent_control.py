"""The socket over which a running agent is asked: who may open it, what it does with nonsense, what is left behind."""

import asyncio
import contextlib
import json
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.rig.nginx import short_directory
from troth.agent import AgentError
from troth.agent.control import SOCKET, ask_to_rotate, asked_over
from troth.agent.proxy import Proof
from troth.agent.rotation import Result
from troth.errors import TrothError


@pytest.fixture
def directory() -> Iterator[Path]:
    with short_directory("control") as path:
        yield path


async def rotated(name: str) -> Result:
    if name == "none":
        raise TrothError("it rotates no identity 'none'", hint="name another")
    return Result(name, name == "good", None, Proof("witness", "seen"), "" if name == "good" else "it failed", 1.5, "")


async def raw(path: Path, data: bytes) -> bytes:
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(data)
    writer.write_eof()
    answer = await reader.read()
    writer.close()
    return answer


def asked(directory: Path, name: str) -> Result:
    async def both() -> Result:
        async with asked_over(directory, rotated):
            return await ask_to_rotate(directory, name, lambda: None)

    return asyncio.run(both())


def test_what_came_of_it_is_told(directory: Path) -> None:
    assert asked(directory, "good") == Result("good", True, None, Proof("witness", "seen"), "", 1.5, "")
    assert asked(directory, "bad").error == "it failed"
    with pytest.raises(AgentError, match="the running agent refuses: it rotates no identity 'none'") as refused:
        asked(directory, "none")
    assert refused.value.hint == "name another"


def test_only_its_user_opens_it_and_it_goes_with_the_agent(directory: Path) -> None:
    async def look() -> int:
        async with asked_over(directory, rotated):
            return stat.S_IMODE((directory / SOCKET).stat().st_mode)

    (directory / SOCKET).write_text("left by a kill")
    assert asyncio.run(look()) == 0o600
    assert not (directory / SOCKET).exists()


NONSENSE = [b"", b"\n", b"{}\n", b"[]\n", b'{"rotate": 1}\n', b'{"rotate": "a", "b": 1}\n', b"\xff\n", b"[" * 6_000]


@pytest.mark.parametrize("data", NONSENSE)
def test_what_is_no_request_is_refused(directory: Path, data: bytes) -> None:
    async def ask() -> bytes:
        async with asked_over(directory, rotated):
            return await raw(directory / SOCKET, data)

    assert json.loads(asyncio.run(ask()))["refused"] == "the request cannot be read"


def test_what_is_too_long_is_cut_off(directory: Path) -> None:
    async def ask() -> bool:
        async with asked_over(directory, rotated):
            with contextlib.suppress(ConnectionError):
                assert b"cannot be read" in await raw(directory / SOCKET, b"x" * 200_000)
            return (await ask_to_rotate(directory, "good", lambda: None)).ok

    assert asyncio.run(ask())


def test_a_place_where_there_can_be_no_socket_is_named(tmp_path: Path) -> None:
    deep = tmp_path / ("a" * 100)
    deep.mkdir()

    async def listen() -> None:
        async with asked_over(deep, rotated):
            pass

    with pytest.raises(AgentError, match=f"cannot listen on {deep}"):
        asyncio.run(listen())


@pytest.mark.parametrize("answer", [b"", b"[1]\n", b'{"ok": 1}\n', b"[" * 6_000])
def test_an_agent_that_ends_before_it_answers(directory: Path, answer: bytes) -> None:
    async def reply(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async def ask() -> None:
        async with await asyncio.start_unix_server(reply, str(directory / SOCKET)):
            await ask_to_rotate(directory, "good", lambda: None)

    with pytest.raises(AgentError, match="ended before it answered"):
        asyncio.run(ask())


def test_nobody_to_ask(directory: Path) -> None:
    with pytest.raises(AgentError, match=r"another agent works with .*, and cannot be asked on .*[.]sock: no such"):
        asyncio.run(ask_to_rotate(directory, "good", lambda: None))
