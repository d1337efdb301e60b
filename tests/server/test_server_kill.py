"""``kill -9`` under load: what was answered is in the database, what was spent stays spent; and gentler ends."""

import asyncio
import json
import resource
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.rig.authority import MAIN, Served, founded
from troth.x509.keys import generate_key
from troth.x509.pem import parse_certificates
from troth.x509.requests import create_request, request_to_pem

NAME = "load.test"
CSR = request_to_pem(create_request(generate_key(), NAME, [NAME]))
CLIENTS = 16


class Answers:
    """What a crowd of clients was told."""

    def __init__(self) -> None:
        self.sent: list[str] = []
        self.issued: dict[str, int] = {}
        self.refused: dict[str, tuple[int, str]] = {}


async def crowd(served: Served, answers: Answers, enough: int, then: Any) -> None:
    """Ask from several connections until `enough` certificates are answered, call `then`, and end."""
    stop = asyncio.Event()
    connector = aiohttp.TCPConnector(limit=CLIENTS, ssl=served.tls())
    async with aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=20)) as session:

        async def client() -> None:
            while not stop.is_set():
                token = served.token(NAME)
                answers.sent.append(token)
                try:
                    status, text = await post(session, served, token)
                except (aiohttp.ClientError, OSError, TimeoutError):
                    return
                if status == 201:
                    answers.issued[token] = serial_of(text)
                else:
                    answers.refused[token] = (status, text)
                if len(answers.issued) >= enough and not stop.is_set():
                    stop.set()
                    then()

        await asyncio.gather(*(client() for _ in range(CLIENTS)))


async def post(session: aiohttp.ClientSession, served: Served, token: str) -> tuple[int, str]:
    async with session.post(f"{served.url}/1.0/sign", json={"csr": CSR, "ott": token}) as response:
        return response.status, await response.text()


def serial_of(text: str) -> int:
    return parse_certificates(json.loads(text)["crt"].encode())[0].serial_number


async def replay(served: Served, tokens: list[str]) -> list[int]:
    """The status of each token sent once more."""
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=served.tls())) as session:
        return [(await post(session, served, token))[0] for token in tokens]


def recorded(served: Served) -> set[int]:
    with sqlite3.connect(served.database) as database:
        return {int.from_bytes(row[0]) for row in database.execute("SELECT serial FROM certificates")}


@pytest.mark.parametrize("workers", [1, 2])
def test_kill_9_under_load_loses_nothing_that_was_answered(tmp_path: Path, workers: int) -> None:
    with founded(tmp_path) as served:
        # Else a token from before the restart is refused for its age, and nothing is learnt about spent ones.
        served.edit(disableIssuedAtCheck=True)
        everything: dict[str, int] = {}
        unanswered: list[str] = []
        for enough in (40, 150, 260):
            served.start("--workers", str(workers), "--quiet")
            answers = Answers()
            asyncio.run(crowd(served, answers, enough, served.kill))
            assert len(answers.issued) >= enough and not answers.refused
            everything |= answers.issued
            unanswered += [token for token in answers.sent if token not in answers.issued]
        assert set(everything.values()) <= recorded(served)
        assert len(set(everything.values())) == len(everything)
        served.start("--workers", str(workers), "--quiet")
        assert set(asyncio.run(replay(served, list(everything)[::3]))) == {401}
        # What nobody was told may have been recorded or not: at most one certificate a token in all.
        asyncio.run(replay(served, unanswered))
        assert set(asyncio.run(replay(served, unanswered))) <= {401}
        assert len(recorded(served)) <= len(everything) + len(unanswered)


def test_workers_end_with_their_supervisor_however_that_ends(tmp_path: Path) -> None:
    with founded(tmp_path) as served:
        served.start("--workers", "2", "--quiet")
        process = served.process
        assert process is not None
        # The first one answers before the second one is there.
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        until = time.monotonic() + 20
        while len(workers := children.read_text().split()) < 2 and time.monotonic() < until:
            time.sleep(0.02)
        assert len(workers) == 2
        process.kill()
        process.wait(20)
        until = time.monotonic() + 20
        while any(lives(pid) for pid in workers) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(lives(pid) for pid in workers)
        served.start("--workers", "2", "--quiet")  # the port is free again


def lives(pid: str) -> bool:
    """Whether it is more than an entry that nobody has collected yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_sigterm_finishes_what_was_accepted(tmp_path: Path) -> None:
    with founded(tmp_path) as served:
        served.start("--quiet")
        answers, process = Answers(), served.process
        assert process is not None
        asyncio.run(crowd(served, answers, 100, process.terminate))
        assert process.wait(20) == 0
        assert recorded(served) == set(answers.issued.values())
        assert not answers.refused


def test_a_full_disk_is_an_error_and_not_a_loss(tmp_path: Path) -> None:
    def limited() -> None:
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, resource.RLIM_INFINITY))

    with founded(tmp_path) as served:
        served.edit(disableIssuedAtCheck=True)
        served.start(preexec_fn=limited)

        async def until_full() -> Answers:
            answers = Answers()
            async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=served.tls())) as session:
                while len(answers.refused) < 3 and len(answers.sent) < 2000:
                    token = served.token(NAME)
                    answers.sent.append(token)
                    status, text = await post(session, served, token)
                    if status == 201:
                        answers.issued[token] = serial_of(text)
                    else:
                        answers.refused[token] = (status, text)
            return answers

        answers = asyncio.run(until_full())
        assert {status for status, _ in answers.refused.values()} == {500}
        assert "its log says why" in next(iter(answers.refused.values()))[1]
        assert "cannot record in the database" in served.log
        assert served.stop() == 0
        assert set(answers.issued.values()) <= recorded(served)
        served.start("--quiet")
        assert set(asyncio.run(replay(served, list(answers.issued)[:20]))) == {401}
        # Refused for the disk, so never spent: the same token works when there is room again.
        assert set(asyncio.run(replay(served, list(answers.refused)))) == {201}


def test_sighup_reads_the_configuration_again_or_keeps_the_old_one(tmp_path: Path) -> None:
    with founded(tmp_path) as served:
        served.start()
        assert served.process is not None

        async def names() -> list[str]:
            async with (
                aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=served.tls())) as session,
                session.get(f"{served.url}/provisioners") as response,
            ):
                return [one["name"] for one in (await response.json())["provisioners"]]

        async def eventually(text: str) -> None:
            async with asyncio.timeout(10):
                while text not in served.log:
                    await asyncio.sleep(0.02)

        assert asyncio.run(names()) == ["admin"]
        good = served.configuration.read_text()
        raw = json.loads(good)
        raw["authority"]["provisioners"].append({"type": "ACME", "name": "acme"})
        served.configuration.write_text(json.dumps(raw))
        served.process.send_signal(signal.SIGHUP)
        asyncio.run(eventually("configuration reloaded"))
        assert asyncio.run(names()) == ["admin", "acme"]
        served.configuration.write_text(good[:-20])
        served.process.send_signal(signal.SIGHUP)
        asyncio.run(eventually("the old one goes on serving"))
        assert "not valid JSON" in served.log
        assert asyncio.run(names()) == ["admin", "acme"]
        assert served.stop() == 0


def test_a_port_that_is_taken_is_named_and_left_alone(tmp_path: Path) -> None:
    with founded(tmp_path) as served:
        served.start("--quiet")
        command = [sys.executable, "-c", MAIN, "ca", "serve", str(served.configuration)]
        command += ["--password-file", str(tmp_path / "password")]
        second = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
        assert second.returncode == 1
        assert f"cannot listen on 127.0.0.1:{served.port}: address already in use" in second.stderr
        assert "Traceback" not in second.stderr
        assert asyncio.run(replay(served, [served.token(NAME)])) == [201]
