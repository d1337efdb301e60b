"""The validity window is step-ca's, for any claims, request and clock; spot-checked against step-ca itself.

The formulas are written down here a second time, straight from step-ca's ``profileDefaultDuration`` and
``validityValidator``.
"""

import json
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.rig.authority import Served, founded
from tests.rig.official import official
from tests.server.calls import call, request
from troth.ca import ForbiddenError, MalformedError
from troth.ca.claims import Claims, parse_claims
from troth.ca.validity import Wish, decide, parse_wish
from troth.durations import format_duration

SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
Outcome = tuple[datetime, datetime] | int

# Around the limits, where rounding and backdating decide, as often as anywhere.
spans = st.one_of(
    st.integers(1, 400 * 86400).map(lambda n: n * SECOND),
    st.sampled_from([SECOND, 59 * SECOND, MINUTE, 4 * MINUTE, 5 * MINUTE, HOUR, 24 * HOUR, 24 * HOUR + MINUTE]),
    st.timedeltas(timedelta(0), 48 * HOUR),
)
moments = st.datetimes(datetime(1980, 1, 1), datetime(2100, 1, 1)).map(lambda one: one.replace(tzinfo=UTC))
backdates = st.one_of(st.just(MINUTE), st.just(timedelta(0)), spans)


@st.composite
def claims(draw: st.DrawFn) -> Claims:
    low, middle, high = sorted(draw(st.lists(spans.filter(bool), min_size=3, max_size=3)))
    return Claims(low, high, middle)


def wishes(now: datetime) -> st.SearchStrategy[Wish]:
    near = st.tuples(st.sampled_from([-1, 1]), spans).map(lambda one: now + one[0] * one[1])
    either = st.one_of(st.none(), near, spans, spans.map(lambda span: -span))
    return st.builds(Wish, either, either)


def whole(moment: datetime) -> datetime:
    return moment.replace(microsecond=0)


def by_the_formulas(wish: Wish, allowed: Claims, backdate: timedelta, now: datetime) -> Outcome:
    """The window of step-ca, or the status of its refusal."""
    pushed = timedelta(0)  # a duration of nothing is as good as none
    if wish.not_before in (None, timedelta(0)):
        begin, pushed = now, -backdate
    elif isinstance(wish.not_before, datetime):
        begin = wish.not_before
    else:
        begin = now + wish.not_before
    if wish.not_after in (None, timedelta(0)):
        end = begin + allowed.default
    elif isinstance(wish.not_after, datetime):
        end = wish.not_after
    else:
        end = begin + wish.not_after
    not_before, not_after = whole(begin + pushed), whole(end)
    if not_after < whole(now) or not_after < not_before:
        return 400
    if not allowed.minimum <= not_after - not_before <= allowed.maximum + backdate:
        return 403
    return not_before, not_after


def decided(wish: Wish, allowed: Claims, backdate: timedelta, now: datetime) -> Outcome:
    try:
        window = decide(wish, allowed, backdate, now)
    except MalformedError:
        return 400
    except ForbiddenError:
        return 403
    return window.not_before, window.not_after


@settings(max_examples=2000, deadline=None)
@given(st.data(), claims(), backdates, moments)
def test_for_any_claims_request_and_clock_the_window_is_step_ca_s(
    data: st.DataObject, allowed: Claims, backdate: timedelta, now: datetime
) -> None:
    wish = data.draw(wishes(now))
    assert decided(wish, allowed, backdate, now) == by_the_formulas(wish, allowed, backdate, now)


@settings(max_examples=300, deadline=None)
@given(claims(), claims(), st.sets(st.sampled_from(["min", "max", "default"])))
def test_a_default_beyond_an_inherited_limit_moves_that_limit_unless_it_is_given(
    base: Claims, own: Claims, given_ones: set[str]
) -> None:
    given_ones |= {"default"}
    durations = {"min": own.minimum, "max": own.maximum, "default": own.default}
    raw = {f"{name}TLSCertDuration": format_duration(durations[name]) for name in given_ones}
    minimum = own.minimum if "min" in given_ones else min(base.minimum, own.default)
    maximum = own.maximum if "max" in given_ones else max(base.maximum, own.default)
    found = parse_claims(raw, base, "provisioner test")
    assert (found.minimum, found.default, found.maximum) == (minimum, own.default, maximum)


@pytest.mark.parametrize(
    ("not_before", "not_after"), [("nonsense", ""), ("", "1 day"), ("2026-01-01", ""), ("", "5"), ("\0", "")]
)
def test_what_is_neither_a_time_nor_a_duration_is_malformed(not_before: str, not_after: str) -> None:
    with pytest.raises(MalformedError):
        parse_wish(not_before, not_after)


def test_a_time_outside_the_calendar_is_malformed() -> None:
    wish = parse_wish("9999-12-31T23:59:59Z", "2000000h")
    assert decided(wish, Claims(), MINUTE, datetime(2026, 1, 1, tzinfo=UTC)) == 400


LIMITS = {"minTLSCertDuration": "5m", "maxTLSCertDuration": "2h", "defaultTLSCertDuration": "1h"}
BACKDATE = 90 * SECOND
ASKED = [
    ("", ""),
    ("", "3m"),
    ("", "3m40s"),
    ("", "2h"),
    ("", "2h10s"),
    ("", "-1m"),
    ("", "-2h"),
    ("10m", ""),
    ("10m", "4m50s"),
    ("10m", "5m"),
    ("10m", "2h"),
    ("10m", "2h1m"),
    ("10m", "2h1m30s"),
    ("10m", "2h1m31s"),
    ("-10m", "30m"),
    ("-30m", "10m"),
    ("1h", "-1m"),
    ("0s", "1h"),
    ("10m", "0s"),
]


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, list[tuple[int, int, int]]]]:
    """What either authority makes of each request: the status, and both ends relative to the second of asking."""
    with founded(tmp_path_factory.mktemp("ca")) as served:
        limit(served.configuration)
        with official(served):
            theirs = [asked(served, *one) for one in ASKED]
        time.sleep(1.1)  # tokens made before an authority started are too old for it
        assert served.migrate().returncode == 0
        served.start()
        yield {"step-ca": theirs, "troth": [asked(served, *one) for one in ASKED]}


def limit(path: Path) -> None:
    raw = json.loads(path.read_text())
    raw["authority"].update(backdate=format_duration(BACKDATE))
    raw["authority"]["provisioners"][0]["claims"] = LIMITS
    path.write_text(json.dumps(raw))


def asked(served: Served, not_before: str, not_after: str) -> tuple[int, int, int]:
    body: dict[str, Any] = {"csr": request(), "ott": served.token("www.example.com")}
    now = whole(datetime.now(UTC))
    status, answer = call(served, "POST", "/sign", {**body, "notBefore": not_before, "notAfter": not_after})
    if status != 201:
        return status, 0, 0
    leaf = x509.load_pem_x509_certificate(answer["crt"].encode())
    ends = leaf.not_valid_before_utc - now, leaf.not_valid_after_utc - now
    return status, round(ends[0].total_seconds()), round(ends[1].total_seconds())


@pytest.mark.parametrize("index", range(len(ASKED)), ids=[" to ".join(one) for one in ASKED])
def test_step_ca_itself_agrees(verdicts: dict[str, list[tuple[int, int, int]]], index: int) -> None:
    theirs, ours = verdicts["step-ca"][index], verdicts["troth"][index]
    assert ours[0] == theirs[0], (ASKED[index], ours, theirs)
    # The two answers were given at different moments: their clocks' seconds may turn in between.
    assert all(abs(mine - other) <= 5 for mine, other in zip(ours[1:], theirs[1:], strict=True))
    now = datetime(2026, 1, 1, 12, tzinfo=UTC)
    model = by_the_formulas(parse_wish(*ASKED[index]), Claims(5 * MINUTE, 2 * HOUR, HOUR), BACKDATE, now)
    assert theirs[0] == (model if isinstance(model, int) else 201)
