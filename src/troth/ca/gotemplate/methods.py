"""Methods that templates call on values: those of ``time.Time``, and ``String`` where a type has it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from troth.ca.gotemplate.signatures import Function
from troth.ca.gotemplate.times import default_text, format_time
from troth.ca.gotemplate.values import Int64


def add_date(moment: datetime, years: int, months: int, days: int) -> datetime:
    """``Time.AddDate``: years and months by the calendar, an overflow of days going on into the next month.

    Raises:
        ValueError: outside the calendar.
    """
    number = moment.year * 12 + moment.month - 1 + years * 12 + months
    try:
        first = moment.replace(year=number // 12, month=number % 12 + 1, day=1)
        return first + timedelta(days=moment.day - 1 + days)
    except OverflowError as error:
        raise ValueError("time is outside the calendar") from error


def _time(parameters: str, call: Callable[..., Any]) -> Function:
    return Function(call, ("time", *parameters.split()))


METHODS: dict[tuple[str, str], Function] = {
    ("time.Time", name): function
    for name, function in {
        "AddDate": _time("int int int", add_date),
        "Day": _time("", lambda t: t.day),
        "Format": _time("string", format_time),
        "Hour": _time("", lambda t: t.hour),
        "IsZero": _time("", lambda t: t == datetime(1, 1, 1, tzinfo=UTC)),
        "Minute": _time("", lambda t: t.minute),
        "Second": _time("", lambda t: t.second),
        "String": _time("", default_text),
        "UTC": _time("", lambda t: t.astimezone(UTC)),
        "Unix": _time("", lambda t: Int64(int(t.timestamp() // 1))),
        "Year": _time("", lambda t: t.year),
        "YearDay": _time("", lambda t: t.timetuple().tm_yday),
    }.items()
}
_SHOWN = ("*url.URL", "net.IP", "*big.Int", "x509.PublicKeyAlgorithm", "x509.SignatureAlgorithm")
METHODS.update({(name, "String"): Function(lambda value: value.text, ("raw",)) for name in _SHOWN})
