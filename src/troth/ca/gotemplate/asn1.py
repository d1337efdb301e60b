"""ASN.1 values from text, as step's ``asn1Enc`` and ``asn1Marshal`` make them (X.690, and Go's field parameters)."""

import base64
import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from troth.ca.gotemplate.times import LAYOUTS, parse_time
from troth.ca.gotemplate.values import type_name
from troth.x509.der import object_id, sequence, tlv

BOOLEAN, INTEGER, OCTET_STRING, UTF8, NUMERIC, PRINTABLE, IA5, UTC_TIME, GENERALIZED = 1, 2, 4, 12, 18, 19, 22, 23, 24
_STRINGS = {"utf8": UTF8, "ia5": IA5, "numeric": NUMERIC, "printable": PRINTABLE}
_SHAPES = {
    IA5: re.compile(r"[\x00-\x7f]*"),
    NUMERIC: re.compile(r"[0-9 ]*"),
    PRINTABLE: re.compile(r"[A-Za-z0-9 '()+,\-./:=?*]*"),
    UTF8: re.compile(r"[^\ud800-\udfff]*"),
}
_PLAIN = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")
_GO_TIME = "2006-01-02 15:04:05.999999999 -0700 MST"


def encode(value: str, parameters: str) -> bytes:
    """``marshalValue``: text as the type that the parameters name, ``printable`` if they name none.

    Raises:
        ValueError: the text is not of that type.
    """
    kind, rest = "", []
    for part in filter(None, parameters.split(",")):
        if part in ("int", "oid", "bool", "boolean", "raw", "utc", "generalized", *_STRINGS):
            kind = part
        else:
            rest.append(part)
    if kind == "raw":
        return base64.b64decode(value, validate=True)
    return _tagged(_primitive(value, kind or "printable"), rest)


def _primitive(value: str, kind: str) -> bytes:
    if kind in _STRINGS:
        return _string(value, _STRINGS[kind])
    if kind == "int":
        if not re.fullmatch(r"[+-]?[0-9]+", value):
            raise ValueError("invalid int value")
        return _integer(int(value))
    if kind == "oid":
        return oid(value)
    if kind in ("bool", "boolean"):
        known = {"1": 1, "t": 1, "true": 1, "0": 0, "f": 0, "false": 0}
        if value.lower() not in known:
            raise ValueError("invalid bool value")
        return _boolean(bool(known[value.lower()]))
    return _time(_moment(value, kind), kind)


def _moment(value: str, kind: str) -> datetime:
    for layout in (_GO_TIME, LAYOUTS["RFC3339"]):
        try:
            return parse_time(layout, value)
        except ValueError:
            continue
    raise ValueError(f"invalid {kind} value")


def oid(text: str) -> bytes:
    """An object identifier of its dotted text. Raises: ValueError: it is none."""
    if not re.fullmatch(r"[0-2](\.[0-9]+)+", text) or (text[0] < "2" and int(text.split(".")[1]) >= 40):
        raise ValueError(f"{text} is not an ASN1 object identifier")
    return object_id(text)


def _string(value: str, tag: int) -> bytes:
    if not _SHAPES[tag].fullmatch(value):
        raise ValueError(f"invalid {next(name for name, number in _STRINGS.items() if number == tag)} value")
    return tlv(tag, value.encode())


def _integer(value: int) -> bytes:
    size = (value if value >= 0 else ~value).bit_length() // 8 + 1
    return tlv(INTEGER, value.to_bytes(size, signed=True))


def _boolean(value: bool) -> bytes:
    return tlv(BOOLEAN, b"\xff" if value else b"\0")


def _time(moment: datetime, kind: str) -> bytes:
    utc = moment.astimezone(UTC)
    if kind == "utc" and not 1950 <= utc.year < 2050:
        raise ValueError("cannot represent time as UTCTime")
    if kind == "utc" or (kind != "generalized" and 1950 <= utc.year < 2050):
        return tlv(UTC_TIME, utc.strftime("%y%m%d%H%M%SZ").encode())
    return tlv(GENERALIZED, f"{utc.year:04d}{utc:%m%d%H%M%SZ}".encode())


def marshal(value: Any, parameters: str) -> bytes:
    """``asn1.MarshalWithParams``: a value as the type it has in Go.

    Raises:
        ValueError: there is no ASN.1 for such a value, or it is not what a parameter says.
    """
    parts = [part for part in parameters.split(",") if part]
    strings = [_STRINGS[part] for part in parts if part in _STRINGS]
    times = [part for part in parts if part in ("utc", "generalized")]
    rest = [part for part in parts if part not in _STRINGS and part not in ("utc", "generalized", "set")]
    if isinstance(value, str):
        tag = strings[0] if strings else PRINTABLE if _PLAIN.fullmatch(value) else UTF8
        return _tagged(_string(value, tag), rest)
    if isinstance(value, list):
        items = [marshal(item, "") for item in value]
        return _tagged(tlv(0x31, b"".join(sorted(items))) if "set" in parts else sequence(*items), rest)
    if isinstance(value, datetime):
        return _tagged(_time(value, times[0] if times else ""), rest)
    makers: list[tuple[type, Callable[[Any], bytes]]] = [
        (bool, _boolean),
        (int, _integer),
        (bytes, lambda data: tlv(OCTET_STRING, data)),
    ]
    for kind, make in makers:
        if isinstance(value, kind):
            return _tagged(make(value), rest)
    raise ValueError(f"asn1: structure error: unknown Go type: {type_name(value)}")


def _tagged(encoded: bytes, parts: list[str]) -> bytes:
    """``tag:N``, implicit or ``explicit``; ``application`` and ``private`` say which class."""
    number = next((part[4:] for part in parts if part.startswith("tag:")), "0" if "explicit" in parts else "")
    if not number:
        return encoded
    if not number.isdecimal() or int(number) > 30:
        raise ValueError(f"tag {number} is not supported: expected 0 to 30")
    tag = {"application": 0x40, "private": 0xC0}.get(
        next((p for p in parts if p in ("application", "private")), ""), 0x80
    )
    if "explicit" in parts:
        return tlv(tag | 0x20 | int(number), encoded)
    return bytes((tag | encoded[0] & 0x20 | int(number),)) + encoded[1:]


__all__ = ["encode", "marshal", "oid", "tlv"]
