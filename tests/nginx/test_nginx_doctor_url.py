"""A live URL: what answers is explained, what does not is told from an upstream's failure."""

from collections.abc import Iterator

import pytest
from click.testing import CliRunner

from tests.nginx.causes import ASKS, GOOD, UP, Case
from tests.nginx.sites import make_certificates
from tests.nginx.test_nginx_doctor import Scene, asked, scene
from tests.rig.nginx import programs, short_directory
from troth.cli.nginx import doctor
from troth.cli.nginx_doctor import UnknownSymptomError
from troth.errors import UsageError

AROUND = (
    f"location /gone {{ return 404; }}\nlocation /app {{ proxy_pass https://127.0.0.1:PORT2/no; {GOOD} }}\n"
    "location /asks { if ($arg_a = 1) { return 502; } return 200 ok; }\nlocation /moved { return 301 /gone; }\n"
    "location /plain { proxy_pass http://127.0.0.1:1; }\n"
)


@pytest.fixture(params=sorted(programs()), scope="module")
def made(request: pytest.FixtureRequest) -> Iterator[Scene]:
    with short_directory("url-pki") as directory:
        pki = make_certificates(directory / "tls")
        case = Case(GOOD, around=AROUND, up=f"{UP}{ASKS} location /no {{ return 403; }}")
        with scene(case, request.param, pki) as made:
            made.nginx.start()
            yield made


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/x", []),
        ("/moved", []),
        ("/asks?a=2", []),
        ("/asks?a=1", [("unknown", 502)]),
        ("/gone", [("application", 404)]),
        ("/app", [("application", 403)]),
        ("/plain", [("refused-connection", 502)]),
    ],
)
def test_an_answer_is_explained(made: Scene, path: str, expected: list[tuple[str, int]]) -> None:
    for host in ("127.0.0.1", "localhost", "user:word@127.0.0.1"):
        code, found = made.doctor(f"http://{host}:{made.ports[0]}{path}")
        assert (code, [(one["id"], one["status"]) for one in found]) == (2 if expected else 0, expected)


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("http://127.0.0.1:1/", "connection refused"),
        ("http://nowhere.invalid/", "the name has no address"),
        ("https://127.0.0.1:PORT/x", "the port speaks no TLS"),
        ("HTTP://127.0.0.1:1", "connection refused"),
    ],
)
def test_what_does_not_answer_is_no_upstream(made: Scene, url: str, said: str) -> None:
    code, found = made.doctor(url.replace("PORT", str(made.ports[0])))
    assert (code, [(one["id"], one["evidence"]) for one in found]) == (2, [("no-answer", [said])])


def test_the_upstream_itself_may_be_asked_without_a_configuration(made: Scene) -> None:
    here = ("-p", str(made.directory / "nowhere"))
    assert asked(*here, f"https://127.0.0.1:{made.ports[1]}/")[1][0]["id"] == "shows-nothing"
    assert asked(*here, f"http://127.0.0.1:{made.ports[1]}/")[1][0]["id"] == "plain-to-tls"
    (found,) = asked(*here, f"http://127.0.0.1:{made.ports[0]}/plain")[1]
    assert (found["id"], found["status"]) == ("unknown", 502)


@pytest.mark.parametrize("url", ["http://", "https:///x", "http://127.0.0.1:99999/", "http://[::1"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match=r"expected http://HOST\[:PORT\]/PATH"):
        doctor.main([url], standalone_mode=False)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("127.0.0.1:80/x", "say it is a URL: troth nginx doctor http://127.0.0.1:80/x"),
        ("app.test", "say it is a URL: troth nginx doctor http://app.test"),
        ("/upstream", "say it is a location: troth nginx doctor --location /upstream"),
        ("502", "say it is a status: troth nginx doctor --why 502"),
        ("LOG", "explain the log: troth nginx doctor --log LOG"),
        ("it is broken", "paste the whole line of the error log"),
    ],
)
def test_something_else_is_refused_with_what_to_type(made: Scene, text: str, hint: str) -> None:
    log = str(made.log)
    result = CliRunner().invoke(doctor, [text.replace("LOG", log)], standalone_mode=False)
    assert isinstance(result.exception, UnknownSymptomError)
    assert result.exception.hint == hint.replace("LOG", log)


def test_a_location_without_tls_is_said_to_be_plain(made: Scene) -> None:
    with pytest.raises(UsageError, match=r"no location /plain talks TLS .*: there are /app, /x") as refused:
        doctor.main(["-c", str(made.nginx.main), "--location", "/plain"], standalone_mode=False)
    assert "proxy_pass http://127.0.0.1:1 is plain; expected https://" in (refused.value.hint or "")
