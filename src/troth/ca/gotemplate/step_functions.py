"""What step adds to sprig: time, ASN.1, ``fail``; and sprig's dates. The zone of the machine is taken for UTC."""

import base64
import binascii
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from troth.ca.gotemplate import RefusedByTemplateError, asn1
from troth.ca.gotemplate.signatures import Function, table
from troth.ca.gotemplate.times import LAYOUTS, ZERO, format_time, layout_of, parse_time
from troth.ca.gotemplate.values import Int64
from troth.durations import DurationError, format_duration, parse_duration


def _fail(message: str) -> None:
    raise RefusedByTemplateError(message)


def _moment(value: Any, now: datetime, *, floats: bool) -> datetime:
    """A moment or the seconds since 1970; anything else is now."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and (floats or not isinstance(value, float)):
        try:
            return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(value))
        except OverflowError as error:
            raise ValueError(f"time {value} is outside the calendar") from error
    return now


def _zone(name: str) -> ZoneInfo | None:
    try:
        return None if name in ("", "UTC", "Local") else ZoneInfo(name)
    except (ValueError, OSError, KeyError):
        return None


def _modified(text: str, moment: datetime) -> datetime:
    try:
        return moment + parse_duration(text)
    except OverflowError as error:
        raise ValueError("time is outside the calendar") from error


def _modified_if_possible(text: str, moment: datetime) -> datetime:
    try:
        return _modified(text, moment)
    except DurationError:
        return moment


def _strictly_modified(text: str, moment: datetime) -> datetime:
    try:
        return _modified(text, moment)
    except DurationError as error:
        raise ValueError(f'time: invalid duration "{text}"') from error


def _duration(seconds: Any) -> str:
    if isinstance(seconds, str):
        seconds = Int64(int(seconds)) if seconds.removeprefix("-").isdecimal() else 0
    return format_duration(timedelta(seconds=int(seconds) if isinstance(seconds, Int64) else 0))


def _parsed(now: datetime) -> Callable[..., datetime]:
    def parse(*given: str) -> datetime:
        if not given:
            return now
        if len(given) == 1:
            return parse_time(LAYOUTS["RFC3339"], given[0])
        if len(given) > 3:
            raise ValueError("unsupported number of parameters")
        moment = parse_time(layout_of(given[0]), given[1])
        if len(given) == 2:
            return moment
        if given[2] not in ("", "UTC", "Local") and _zone(given[2]) is None:
            raise ValueError(f"unknown time zone {given[2]}")
        named = any(part in layout_of(given[0]) for part in ("07", "MST"))
        return moment if named else moment.replace(tzinfo=_zone(given[2]) or UTC)

    return parse


def _or_zero(call: Callable[..., datetime]) -> Callable[..., datetime]:
    def quiet(*given: str) -> datetime:
        try:
            return call(*given)
        except ValueError:
            return ZERO

    return quiet


def _joined(tag: int) -> Callable[..., str]:
    def join(*parts: str) -> str:
        return base64.b64encode(asn1.tlv(tag, b"".join(map(decoded, parts)))).decode()

    return join


def decoded(text: str) -> bytes:
    """Standard base64. Raises: ValueError: it is not."""
    try:
        return base64.b64decode(text.replace("\n", "").replace("\r", ""), validate=True)
    except binascii.Error as error:
        raise ValueError("illegal base64 data") from error


def _encode(text: str) -> str:
    kind, colon, value = text.partition(":")
    return base64.b64encode(asn1.encode(value, kind) if colon else asn1.encode(text, "printable")).decode()


def _marshal(value: Any, *parameters: str) -> str:
    return base64.b64encode(asn1.marshal(value, ",".join(parameters))).decode()


STEP = table(
    ("fail", "string", _fail),
    ("toTimeLayout", "string", layout_of),
    ("dateModify date_modify", "string time", _modified_if_possible),
    ("mustDateModify must_date_modify", "string time", _strictly_modified),
    ("duration", "any", _duration),
    ("unixEpoch", "time", lambda moment: str(int(moment.timestamp() // 1))),
    ("toDate", "string string", _or_zero(parse_time)),
    ("mustToDate", "string string", parse_time),
    ("asn1Enc", "string", _encode),
    ("asn1Marshal", "any string...", _marshal),
    ("asn1Seq", "string...", _joined(0x30)),
    ("asn1Set", "string...", _joined(0x31)),
)


def clock_functions(now: datetime) -> dict[str, Function]:
    """The functions that may mean the present moment."""

    def dated(layout: str, value: Any, zone: str = "UTC") -> str:
        return format_time(_moment(value, now, floats=False).astimezone(_zone(zone) or UTC), layout)

    def to_time(value: Any = None) -> datetime:
        return _moment(value, now, floats=True).astimezone(UTC)

    return table(
        ("now", "", lambda: now),
        ("toTime", "any", to_time),
        ("formatTime", "any", lambda value: format_time(to_time(value), LAYOUTS["RFC3339"])),
        ("parseTime", "string...", _or_zero(_parsed(now))),
        ("mustParseTime", "string...", _parsed(now)),
        ("date", "string any", dated),
        ("dateInZone date_in_zone", "string any string", dated),
        ("htmlDate", "any", lambda value: dated("2006-01-02", value)),
        ("htmlDateInZone", "any string", lambda value, zone: dated("2006-01-02", value, zone)),
    )
