"""Moments as Go's ``time`` writes and reads them."""

import re
from datetime import UTC, datetime, timedelta, timezone

LAYOUTS = {
    "LAYOUT": "01/02 03:04:05PM '06 -0700",
    "ANSIC": "Mon Jan _2 15:04:05 2006",
    "UNIXDATE": "Mon Jan _2 15:04:05 MST 2006",
    "RUBYDATE": "Mon Jan 02 15:04:05 -0700 2006",
    "RFC822": "02 Jan 06 15:04 MST",
    "RFC822Z": "02 Jan 06 15:04 -0700",
    "RFC850": "Monday, 02-Jan-06 15:04:05 MST",
    "RFC1123": "Mon, 02 Jan 2006 15:04:05 MST",
    "RFC1123Z": "Mon, 02 Jan 2006 15:04:05 -0700",
    "RFC3339": "2006-01-02T15:04:05Z07:00",
    "RFC3339NANO": "2006-01-02T15:04:05.999999999Z07:00",
    "KITCHEN": "3:04PM",
    "DATETIME": "2006-01-02 15:04:05",
    "DATEONLY": "2006-01-02",
    "TIMEONLY": "15:04:05",
}
ZERO = datetime(1, 1, 1, tzinfo=UTC)
_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MONTHS = (
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
)
_PARTS = re.compile(
    r"January|Jan|Monday|Mon|MST|2006|Z07:00|Z0700|-07:00|-0700|-07|[.,]0+(?!\d)|[.,]9+(?!\d)|"
    r"15|PM|pm|01|02|03|04|05|06|_2|1|2|3|4|5"
)


def layout_of(name: str) -> str:
    """The layout of a name such as ``time.RFC3339`` or ``UnixDate``; anything else is a layout itself."""
    return LAYOUTS.get(name.removeprefix("time.").upper(), name)


def format_time(moment: datetime, layout: str) -> str:
    """``Time.Format``"""
    return _PARTS.sub(lambda match: _part(moment, match.group()), layout)


def default_text(moment: datetime) -> str:
    """``Time.String``"""
    return format_time(moment, "2006-01-02 15:04:05.999999999 -0700 MST")


def json_text(moment: datetime) -> str:
    """RFC 3339 with as many digits of the second as there are."""
    return format_time(moment, LAYOUTS["RFC3339NANO"])


def _part(moment: datetime, part: str) -> str:
    if part[0] in ".,":
        digits = f"{moment.microsecond:06d}000"
        if part[1] == "0":
            return part[0] + digits[: len(part) - 1].ljust(len(part) - 1, "0")
        kept = digits[: len(part) - 1].rstrip("0")
        return part[0] + kept if kept else ""
    if part[0] in "Z-":
        return _offset(moment, part)
    hour = moment.hour % 12 or 12
    simple = {
        "January": _MONTHS[moment.month - 1],
        "Jan": _MONTHS[moment.month - 1][:3],
        "Monday": _DAYS[moment.weekday()],
        "Mon": _DAYS[moment.weekday()][:3],
        "MST": _zone(moment),
        "2006": f"{moment.year:04d}",
        "06": f"{moment.year % 100:02d}",
        "01": f"{moment.month:02d}",
        "1": str(moment.month),
        "02": f"{moment.day:02d}",
        "_2": f"{moment.day:2d}",
        "2": str(moment.day),
        "15": f"{moment.hour:02d}",
        "03": f"{hour:02d}",
        "3": str(hour),
        "04": f"{moment.minute:02d}",
        "4": str(moment.minute),
        "05": f"{moment.second:02d}",
        "5": str(moment.second),
        "PM": "PM" if moment.hour >= 12 else "AM",
        "pm": "pm" if moment.hour >= 12 else "am",
    }
    return simple[part]


def _minutes(moment: datetime) -> int:
    return int((moment.utcoffset() or timedelta(0)).total_seconds() // 60)


def _offset(moment: datetime, part: str) -> str:
    minutes = _minutes(moment)
    if part[0] == "Z" and not minutes:
        return "Z"
    sign = "-" if minutes < 0 else "+"
    hours, rest = divmod(abs(minutes), 60)
    if part == "-07":
        return f"{sign}{hours:02d}"
    return f"{sign}{hours:02d}{':' if ':' in part else ''}{rest:02d}"


def _zone(moment: datetime) -> str:
    """The abbreviation of a named zone; a zone that is only an offset is written as ``-0700``."""
    if isinstance(moment.tzinfo, timezone) and _minutes(moment):
        return _offset(moment, "-0700")
    return moment.tzname() or "UTC"


def parse_time(layout: str, text: str) -> datetime:
    """``time.Parse``, in UTC where the text says no zone.

    Raises:
        ValueError: the text does not have the layout.
    """
    names: list[str] = []
    pattern, at = "", 0
    for match in _PARTS.finditer(layout):
        pattern += re.escape(layout[at : match.start()]) + _reading(match.group(), names)
        at = match.end()
    pattern += re.escape(layout[at:])
    found = re.fullmatch(pattern, text)
    if found is None:
        raise ValueError(f'parsing time "{text}" as "{layout}": cannot parse "{text}"')
    try:
        return _assemble(dict(zip(names, found.groups(), strict=True)))
    except (ValueError, OverflowError) as error:
        raise ValueError(f'parsing time "{text}": {error}') from error


def _reading(part: str, names: list[str]) -> str:
    """The pattern of a part, its name noted."""
    shapes = {
        "year": (("2006",), r"(\d{4})"),
        "short year": (("06",), r"(\d{2})"),
        "month name": (
            ("January", "Jan"),
            "(" + "|".join(_MONTHS) + "|" + "|".join(name[:3] for name in _MONTHS) + ")",
        ),
        "month": (("01", "1"), r"(\d{1,2})"),
        "day name": (("Monday", "Mon"), r"([A-Z][a-z]+)"),
        "day": (("02", "_2", "2"), r" ?(\d{1,2})"),
        "hour": (("15",), r"(\d{1,2})"),
        "half hour": (("03", "3"), r"(\d{1,2})"),
        "minute": (("04", "4"), r"(\d{1,2})"),
        # A fraction may follow the second whatever the layout says (Go's rule).
        "second": (("05", "5"), r"(\d{1,2}(?:[.,]\d+)?)"),
        "half": (("PM", "pm"), r"([AaPp][Mm])"),
        "zone": (("Z07:00", "Z0700", "-07:00", "-0700", "-07"), r"(Z|[+-]\d{2}(?::?\d{2})?)"),
        "zone name": (("MST",), r"([A-Z]{3,4}|[+-]\d{2,4})"),
    }
    for name, (parts, pattern) in shapes.items():
        if part in parts:
            names.append(name)
            return pattern
    return ""  # a fraction of a second is read with the second


def _assemble(parts: dict[str, str]) -> datetime:
    year = int(parts.get("year", 0) or 0)
    if "short year" in parts:
        short = int(parts["short year"])
        year = short + (1900 if short >= 69 else 2000)
    month = int(parts.get("month", 1))
    if "month name" in parts:
        month = [name[:3] for name in _MONTHS].index(parts["month name"][:3]) + 1
    hour = int(parts.get("hour", parts.get("half hour", 0)))
    if "half" in parts:
        hour = hour % 12 + (12 if parts["half"].lower() == "pm" else 0)
    whole, _, fraction = parts.get("second", "0").replace(",", ".").partition(".")
    zone = parts.get("zone", "Z")
    offset = timedelta(0)
    if zone != "Z":
        digits = zone[1:].replace(":", "")
        offset = timedelta(hours=int(digits[:2]), minutes=int(digits[2:] or 0)) * (-1 if zone[0] == "-" else 1)
    where = timezone(offset) if offset else UTC
    micro = int(fraction[:6].ljust(6, "0"))
    return datetime(year, month, int(parts.get("day", 1)), hour, int(parts.get("minute", 0)), int(whole), micro, where)
