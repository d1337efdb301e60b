"""A pasted line is understood however it was kept or pasted, and a log whatever its size."""

import gzip
import json
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner

from troth.agent.logs import newest_lines
from troth.cli.nginx import doctor
from troth.errors import TrothError, UsageError
from troth.nginx.diagnosis.records import plain, records

TAIL = ', client: 10.0.0.9, server: app.test, request: "GET /x HTTP/1.1", upstream: "https://127.0.0.1:1/x", host: "a"'
# As nginx 1.22 with OpenSSL 3.0 and nginx 1.31 with OpenSSL 3.3 write them.
LINES = {
    "client-expired": (
        "SSL_read() failed (SSL: error:0A000415:SSL routines::sslv3 alert certificate expired:SSL alert number 45) "
        "while reading response header from upstream",
        "SSL_read() failed (SSL: error:0A000415:SSL routines::ssl/tls alert certificate expired:SSL alert number 45) "
        "while reading response header from upstream",
    ),
    "server-name-not-sent": (
        "SSL_do_handshake() failed (SSL: error:0A000458:SSL routines::tlsv1 unrecognized name:SSL alert number 112) "
        "while SSL handshaking to upstream",
        "SSL_do_handshake() failed (SSL: error:0A000458:SSL routines::tlsv1 unrecognized name:SSL alert number 112) "
        "while SSL handshaking to upstream",
    ),
    "upstream-expired": (
        "upstream SSL certificate verify error: (10:certificate has expired) while SSL handshaking to upstream",
        "upstream SSL certificate verify error: (10:certificate has expired) while SSL handshaking to upstream",
    ),
    "name-wrong": (
        'upstream SSL certificate does not match "else.test" while SSL handshaking to upstream',
        'upstream SSL certificate does not match "else.test" while SSL handshaking to upstream',
    ),
}


def whole(message: str, level: str = "error") -> str:
    return f"2026/11/25 02:57:25 [{level}] 27161#27161: *383 {message}{TAIL}"


FORMS: dict[str, Callable[[str], str]] = {
    "as it is": lambda line: line,
    "blanks around": lambda line: f"   {line}  \r\n",
    "message alone": lambda line: line.partition(": *383 ")[2].partition(", client:")[0],
    "syslog": lambda line: f"<187>Nov 25 02:57:25 web-1 nginx: {line}",
    "journald": lambda line: f"Nov 25 02:57:25 web-1 nginx[27161]: {line}",
    "journald in ISO": lambda line: f"2026-11-25T02:57:25+0000 web-1 nginx[27161]: {line}",
    "journald as JSON": lambda line: json.dumps({"_PID": "1", "MESSAGE": line}),
    "journald as bytes": lambda line: json.dumps({"MESSAGE": list(line.encode())}),
    "Docker": lambda line: json.dumps({"log": line + "\n", "stream": "stderr", "time": "2026-11-25T02:57:25Z"}),
    "Docker, cut off": lambda line: json.dumps({"log": line + "\n", "stream": "stderr"})[:-20],
    "CRI": lambda line: f"2026-11-25T02:57:25.123456789Z stderr F {line}",
    "JSON in JSON": lambda line: json.dumps({"log": json.dumps({"message": line})}),
    "colours": lambda line: f"\x1b[0;31m{line[:30]}\x1b[1m{line[30:]}\x1b[0m",
    "docker compose": lambda line: f"nginx-1  | {line}",
    "kubectl with prefix": lambda line: f"[pod/nginx-7/nginx] {line}",
    "broken by a terminal": lambda line: "\n".join(line[at : at + 80] for at in range(0, len(line), 80)),
    "broken by a mail": lambda line: line.replace(" while ", "\nwhile ").replace(" (", "\n("),
    "quoted": lambda line: f"    > {line}",
    "after others": lambda line: f"{whole('client closed connection while waiting for request', 'info')}\n{line}",
    "before others": lambda line: f"{line}\n2026/11/25 02:57:26 [notice] 1#1: signal 17 (SIGCHLD) received from 2",
}


def ids(*words: str, given: str = "") -> list[str]:
    result = CliRunner().invoke(doctor, [*words, "--json"], input=given, standalone_mode=False)
    assert isinstance(result.return_value, int), result.output + repr(result.exception)
    return [one["id"] for one in json.loads(result.output)["diagnoses"]]


# As both write it for one encrypted key in 256: the padding after decryption with a wrong password looks right.
BY_CHANCE = (
    'cannot load certificate key "/etc/up.key": PEM_read_bio_PrivateKey() failed (SSL: error:1E08010C:DECODER routines'
    "::unsupported:No supported data to decode. Input type: PEM error:0680007B:asn1 encoding routines::header too long "
    "error:0688010A:asn1 encoding routines::nested asn1 error:Type=PKCS8_PRIV_KEY_INFO error:11800065:PKCS12 routines"
    "::decode error)"
)


@pytest.fixture
def nowhere(tmp_path: Path) -> tuple[str, ...]:
    """No configuration, whatever runs on this machine."""
    return ("-p", str(tmp_path))


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("version", [0, 1], ids=["1.22", "1.31"])
def test_a_line_is_understood_as_it_is_kept_and_pasted(form: str, version: int, nowhere: tuple[str, ...]) -> None:
    for rule, lines in LINES.items():
        text = FORMS[form](whole(lines[version], "crit" if version == 0 else "error"))
        assert ids(*nowhere, text) == [rule], text
        assert ids(*nowhere, "-", given=text) == [rule], text


def test_several_lines_are_several_causes_each_once(nowhere: tuple[str, ...]) -> None:
    text = "\n".join(whole(lines[0]) for lines in LINES.values())
    assert ids(*nowhere, "-", given=f"{text}\n{text}\n") == list(LINES)


def test_records_are_told_from_lines() -> None:
    assert list(records(["", "a ", "b\r\n", "[error] c", "nginx: [emerg] d", "e"])) == [
        ("a b", "ab"),
        ("[error] c",),
        ("nginx: [emerg] d e", "nginx: [emerg] de"),
    ]
    assert plain('{"no": "line"}') == '{"no": "line"}'
    assert plain('["log"]') == '["log"]'
    assert plain('{"log": 5}') == '{"log": 5}'


def test_a_log_is_read_from_its_end_and_the_newest_cause_is_named(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    old, new = (whole(LINES[rule][1]) for rule in ("upstream-expired", "name-wrong"))
    log.write_text(f"{old}\n{new}\n" + "2026/11/25 [info] 1#1: *7 client closed connection\n" * 50_000)
    assert ids("--log", str(log), "-p", str(tmp_path)) == ["name-wrong"]
    assert ids("--log", str(log), "--why", "404", "-p", str(tmp_path)) == []
    with gzip.open(tmp_path / "error.log.2.gz", "wb") as packed:
        packed.write(log.read_bytes())
    assert ids("--log", str(tmp_path / "error.log.2.gz"), "-p", str(tmp_path)) == ["name-wrong"]
    cut = tmp_path / "cut.gz"
    cut.write_bytes((tmp_path / "error.log.2.gz").read_bytes()[:-20])
    assert ids("--log", str(cut), "-p", str(tmp_path)) == ["name-wrong"]
    assert list(newest_lines(log))[:3] == ["", *["2026/11/25 [info] 1#1: *7 client closed connection"] * 2]


def test_lines_are_whole_where_two_chunks_meet(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    lines = [f"{number} " + "x" * (number % 1999) for number in range(3000)]
    log.write_text("\n".join(lines))
    assert list(newest_lines(log)) == lines[::-1]


def test_a_huge_log_takes_neither_its_size_in_memory_nor_minutes(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    with log.open("wb") as stream:
        stream.truncate(200_000_000)
        stream.seek(0, 2)
        stream.write(b"\n" + whole(LINES["name-wrong"][1]).encode() + b"\n")
    tracemalloc.start()
    begun = time.monotonic()
    assert sum(len(line) for line in newest_lines(log)) < 70_000_000
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
    assert time.monotonic() - begun < 20
    assert ids("--log", str(log), "-p", str(tmp_path)) == ["name-wrong"]


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda path: None, "cannot read .*: no such file"),
        (lambda path: path.mkdir(), "cannot read .*: is a directory"),
        (lambda path: path.write_bytes(b"\x1f\x8bno gzip"), "cannot read .*: "),
    ],
)
def test_a_log_that_is_none_is_refused(tmp_path: Path, make: Callable[[Path], object], said: str) -> None:
    make(tmp_path / "x.log")
    with pytest.raises(TrothError, match=said):
        doctor.main(["--log", str(tmp_path / "x.log"), "-p", str(tmp_path)], standalone_mode=False)


def test_an_empty_log_names_nothing_and_says_that_it_is_empty(tmp_path: Path) -> None:
    (tmp_path / "x.log").write_bytes(b"")
    assert ids("--log", str(tmp_path / "x.log"), "-p", str(tmp_path)) == []
    assert said("--log", str(tmp_path / "x.log")) == f"nothing found wrong in {tmp_path}/x.log: it is empty\n"
    (tmp_path / "x.log").write_text("2026/11/25 [info] 1#1: *7 client closed connection\n" * 3)
    assert said("--log", str(tmp_path / "x.log")) == f"nothing found wrong in {tmp_path}/x.log: 3 lines of nginx\n"


def said(*words: str) -> str:
    return CliRunner().invoke(doctor, words).stdout


@pytest.mark.parametrize("data", [b"hello\n", bytes(range(256)) * 40, b'127.0.0.1 - - "GET / HTTP/1.1" 502 157 "-"\n'])
def test_what_is_no_error_log_is_said_to_be_none(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "x.log").write_bytes(data)
    with pytest.raises(TrothError, match=r"x\.log is not an error log of nginx: of its \d+ lines none has"):
        doctor.main(["--log", str(tmp_path / "x.log")], standalone_mode=False)


@pytest.mark.parametrize("why", ["999", "200", "5O2", "50", "old"])
def test_a_status_that_is_no_failure_is_refused(why: str) -> None:
    with pytest.raises(UsageError, match=f"invalid --why '{why}': expected a status from 400 to 599"):
        doctor.main(["--why", why], standalone_mode=False)


def test_a_line_of_a_megabyte_without_a_blank_takes_no_time(tmp_path: Path) -> None:
    log = tmp_path / "error.log"
    log.write_text("a" * 1_000_000)
    began = time.process_time()
    done = CliRunner().invoke(doctor, ["--log", str(log), "-p", str(tmp_path)])
    assert isinstance(done.exception, TrothError) and "is not an error log of nginx" in done.exception.message
    assert time.process_time() - began < 5


def test_a_wrong_password_is_named_where_it_decrypts_to_nonsense(nowhere: tuple[str, ...]) -> None:
    assert ids(whole(f"{BY_CHANCE} while connecting to upstream"), *nowhere) == ["variable-key-encrypted"]
    assert ids(f"nginx: [emerg] {BY_CHANCE}", *nowhere) == ["password-wrong"]
