"""How a command asks a running agent to rotate now: a line of JSON each way, over a socket that only its user opens.

Request: ``{"rotate": "myuser"}``. Answer: as `answer_of` writes it, or ``{"refused": "why", "hint": "..."}``.
"""

import asyncio
import contextlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

from troth.agent import AgentError
from troth.agent.checks import Facts
from troth.agent.proxy import Proof
from troth.agent.rotation import Result
from troth.errors import TrothError
from troth.host.files import reason

SOCKET = "agent.sock"
MOST_BYTES = 65_536
# The agent finishes the round it is in before it turns to us; a rotation ends by itself sooner than a round.
ANSWER_SECONDS = 900.0
REQUEST_SECONDS = 10.0
Rotate = Callable[[str], Awaitable[Result]]


@contextlib.asynccontextmanager
async def asked_over(directory: Path, rotate: Rotate) -> AsyncIterator[None]:
    """Answer requests while the block runs. The state directory's lock is held, so an old socket is nobody's.

    Raises:
        AgentError: there can be no socket; an agent does as well without it.
    """
    path = directory / SOCKET
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(_serve(reader, writer, rotate))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_unix_server(connected, sock=_socket(path), limit=MOST_BYTES)
    try:
        yield
    finally:
        server.close()
        with contextlib.suppress(OSError):
            path.unlink()
        # A rotation that was asked for is finished and answered, as one of our own is.
        if tasks:
            await asyncio.wait(tasks)


def _socket(path: Path) -> socket.socket:
    one = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        path.unlink(missing_ok=True)
        one.bind(str(path))
    except OSError as error:
        one.close()
        raise AgentError(f"cannot listen on {path}: {reason(error)}") from error
    finally:
        os.umask(mask)
    one.setblocking(False)
    return one


async def _serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, rotate: Rotate) -> None:
    with contextlib.suppress(OSError):
        try:
            async with asyncio.timeout(REQUEST_SECONDS):
                line = await reader.readline()
            answer = answer_of(await rotate(_name(line)))
        except (ValueError, RecursionError, TimeoutError):
            answer = {"refused": "the request cannot be read", "hint": 'expected a line: {"rotate": "NAME"}'}
        except TrothError as error:
            answer = {"refused": error.message, "hint": error.hint or ""}
        writer.write(json.dumps(answer).encode() + b"\n")
        await writer.drain()
    writer.close()


def _name(line: bytes) -> str:
    raw = json.loads(line)
    if not isinstance(raw, dict) or list(raw) != ["rotate"] or not isinstance(raw["rotate"], str):
        raise ValueError("not a request")
    return raw["rotate"]


def answer_of(result: Result) -> dict[str, Any]:
    """What came of a rotation, as it is written to who asked."""
    return {
        "ok": result.ok,
        "serial": str(result.facts.serial) if result.facts else "",
        "proof": {"kind": result.proof.kind, "detail": result.proof.detail},
        "error": result.error,
        "hint": result.hint,
        "seconds": result.seconds,
    }


async def ask_to_rotate(directory: Path, name: str, current: Callable[[], Facts | None]) -> Result:
    """Let the agent that works with a state directory rotate an identity, and wait for what comes of it.

    Args:
        current: reads the certificate in use, once the agent is done.

    Raises:
        AgentError: it cannot be asked, refuses, or does not answer within `ANSWER_SECONDS`.
    """
    path = directory / SOCKET
    try:
        async with asyncio.timeout(ANSWER_SECONDS):
            reader, writer = await asyncio.open_unix_connection(str(path), limit=MOST_BYTES)
            try:
                writer.write(json.dumps({"rotate": name}).encode() + b"\n")
                raw = json.loads(await reader.readline())
            finally:
                writer.close()
        if "refused" in raw:
            raise AgentError(f"the running agent refuses: {raw['refused']}", hint=raw["hint"] or None)
        proof = Proof(raw["proof"]["kind"], raw["proof"]["detail"])
        return Result(name, raw["ok"], current(), proof, raw["error"], raw["seconds"], raw["hint"])
    except TimeoutError as error:
        raise AgentError(f"the running agent did not answer on {path} within {ANSWER_SECONDS:.0f} s") from error
    except PermissionError as error:
        raise AgentError(
            f"the running agent cannot be asked on {path}: permission denied", hint="be the user it runs as, or root"
        ) from error
    except (ConnectionResetError, BrokenPipeError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise AgentError(f"the running agent ended before it answered on {path}", hint="see its log") from error
    except OSError as error:
        raise AgentError(
            f"another agent works with {directory}, and cannot be asked on {path}: {reason(error)}",
            hint="wait until it is done, or stop it: systemctl stop troth-agent",
        ) from error
