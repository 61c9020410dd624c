"""The string formats that upstream validates (apiextensions-apiserver, pkg/apiserver/validation/formats.go)."""

import base64
import binascii
import datetime
import ipaddress
import re
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit


def _date(text: str) -> bool:
    try:
        datetime.date.fromisoformat(text)
    except ValueError:
        return False
    return len(text) == 10


_MOMENT: Final = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)")


def _date_time(text: str) -> bool:
    if not _MOMENT.fullmatch(text):
        return False
    try:
        datetime.datetime.fromisoformat(text[:19].replace("t", "T"))
    except ValueError:
        return False
    return True


_DURATION: Final = re.compile(r"[-+]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)")
_WORDY: Final = re.compile(
    r"(\d+\.?\d*)\s*"
    r"(ns|nanos?|nanoseconds?|us|µs|micros?|microseconds?|ms|millis?|milliseconds?|s|secs?|seconds?|m|mins?|minutes?|"
    r"h|hrs?|hours?|d|days?|w|weeks?)"
)


def _duration(text: str) -> bool:
    return bool(_DURATION.fullmatch(text)) or bool(_WORDY.fullmatch(text.strip().lower()))


def _address(version: int | None = None) -> Callable[[str], bool]:
    def fits(text: str) -> bool:
        try:
            return version in (None, ipaddress.ip_address(text).version)
        except ValueError:
            return False

    return fits


def _network(text: str) -> bool:
    if "/" not in text:
        return False
    try:
        ipaddress.ip_network(text, strict=False)
    except ValueError:
        return False
    return True


def _uri(text: str) -> bool:
    try:
        parts = urlsplit(text)
    except ValueError:
        return False
    return bool(parts.scheme) or text.startswith("/")


def _base64(text: str) -> bool:
    try:
        base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _fits(pattern: str) -> Callable[[str], bool]:
    found = re.compile(pattern).fullmatch
    return lambda text: found(text) is not None


_HEX: Final = "[0-9a-fA-F]"
_UUID: Final = rf"{_HEX}{{8}}-?{_HEX}{{4}}-?%s{_HEX}{{3}}-?%s{_HEX}{{3}}-?{_HEX}{{12}}"
_HOST: Final = (
    r"(?=.{1,253}\.?$)[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?(\.[a-zA-Z0-9]([-a-zA-Z0-9]{0,61}[a-zA-Z0-9])?)*\.?"
)


def _anything(text: str) -> bool:
    return True


FORMATS: Final[dict[str, Callable[[str], bool]]] = {
    "bsonobjectid": _fits(rf"{_HEX}{{24}}"),
    "uri": _uri,
    "email": _fits(r"[^@\s<>]+@[^@\s<>]+"),
    "hostname": _fits(_HOST),
    "ipv4": _address(4),
    "ipv6": _address(6),
    "cidr": _network,
    "mac": _fits(rf"{_HEX}{{2}}([-:]{_HEX}{{2}}){{5}}(([-:]{_HEX}{{2}}){{2}})?"),
    "uuid": _fits(rf"{_HEX}{{8}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{4}}-?{_HEX}{{12}}"),
    "uuid3": _fits(_UUID % ("3", _HEX)),
    "uuid4": _fits(_UUID % ("4", "[89abAB]")),
    "uuid5": _fits(_UUID % ("5", "[89abAB]")),
    "isbn": _fits(r"(\d[- ]?){9}[\dX]|(\d[- ]?){12}\d"),
    "isbn10": _fits(r"(\d[- ]?){9}[\dX]"),
    "isbn13": _fits(r"(\d[- ]?){12}\d"),
    "creditcard": _fits(r"[\d -]{12,24}"),
    "ssn": _fits(r"\d{3}[- ]?\d{2}[- ]?\d{4}"),
    "hexcolor": _fits(rf"#?({_HEX}{{3}}|{_HEX}{{6}})"),
    "rgbcolor": _fits(r"rgb\(\s*\d{1,3}\s*,\s*\d{1,3}\s*,\s*\d{1,3}\s*\)"),
    "byte": _base64,
    "password": _anything,
    "date": _date,
    "duration": _duration,
    "datetime": _date_time,
    "date-time": _date_time,
}
