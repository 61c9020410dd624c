"""Scalars as upstream writes them back: quantities in their canonical form, times in UTC.

`resource.Quantity` keeps a text that already is canonical, or that its quick check takes for it (`1.500`, `+1`); all
others are written anew: no fraction, the largest suffix that is exact.
"""

import datetime
import math
import re
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final

from fairway.engine.apiserver.schema.types import Shape

_PARTS: Final = re.compile(r"([+-]?)(\d*)(?:\.(\d*))?(?:([eE])([+-]?\d+)|([numkMGTPE]|[KMGTPE]i)?)")
_BINARY: Final = {"Ki": 10, "Mi": 20, "Gi": 30, "Ti": 40, "Pi": 50, "Ei": 60}
_DECIMAL: Final = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_SUFFIXES: Final = {exponent: suffix for suffix, exponent in _DECIMAL.items()}
_BINARY_SUFFIXES: Final = ("", *_BINARY)
_DIGITS_MAX: Final = 18  # what an int64 surely holds
_INT64_MAX: Final = (1 << 63) - 1
_NANO: Final = 10**9
# An exponent beyond this makes no sense and would make a number of that many digits.
_EXPONENT_MAX: Final = 100


def canonical(shape: Shape, value: Any) -> Any:
    """A well-formed scalar as upstream would answer it; one that is not well formed stays as it is."""
    if shape is Shape.QUANTITY:
        return quantity(_number_text(value) if value.__class__ is not str else value)
    if (shape is Shape.TIME and (len(value) != 20 or value[-1] != "Z")) or shape is Shape.MICROTIME:
        return _time(shape, value)
    if shape is Shape.BYTES and ("\n" in value or "\r" in value):
        return value.replace("\n", "").replace("\r", "")  # Go decodes base64 over line ends, and writes none
    return value


def _number_text(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else repr(value)


@lru_cache(maxsize=4096)
def quantity(text: str) -> str:
    """The canonical form of a quantity, such as `500m` for `0.5` and `1Gi` for `1024Mi`."""
    match = _PARTS.fullmatch(text.strip())
    if match is None:
        return text
    sign, whole, fraction, exponent_mark, power, suffix = match.groups()
    digits, fraction = whole.lstrip("0") or "0", fraction or ""
    bits = _BINARY.get(suffix, 0)
    exponent = int(power) if exponent_mark else _DECIMAL.get(suffix or "", 0)
    if abs(exponent) > _EXPONENT_MAX or len(text) > _EXPONENT_MAX:
        return text
    if _is_canonical(digits, fraction, exponent, bits):
        return text.strip()
    amount = Fraction(int(digits + fraction), 10 ** len(fraction)) * Fraction(10) ** exponent * (1 << bits)
    nanos = math.ceil(amount * _NANO)
    if bits:
        nanos = min(nanos, _INT64_MAX * _NANO)
    if not nanos:
        return "0"
    return ("-" if sign == "-" else "") + _written(nanos, bool(bits), bool(exponent_mark))


def _is_canonical(digits: str, fraction: str, exponent: int, bits: int) -> bool:
    """The quick check of upstream, which lets some texts pass that are not canonical."""
    if bits:
        # 15 digits of decimal precision, less about 3 for each 10 bits
        return not fraction and 14 - len(digits) - bits * 3 // 10 >= 0 and bool(int(digits) & 7)
    scale, shifted = exponent - len(fraction), digits + fraction
    short = len(shifted) <= _DIGITS_MAX and scale >= -9
    return short and scale % 3 == 0 and not shifted.endswith("000") and shifted[0] != "0"


def _written(nanos: int, binary: bool, with_exponent: bool) -> str:
    if binary and nanos >= 1024 * _NANO and nanos % _NANO == 0:
        number, power = nanos // _NANO, 0
        while number % 1024 == 0 and power < len(_BINARY):
            number, power = number // 1024, power + 1
        return f"{number}{_BINARY_SUFFIXES[power]}"
    number, exponent = nanos, -9
    while number % 1000 == 0 and (with_exponent or exponent < 18):
        number, exponent = number // 1000, exponent + 3
    if with_exponent:
        return f"{number}e{exponent}" if exponent else str(number)
    return f"{number}{_SUFFIXES[exponent]}"


def _time(shape: Shape, text: str) -> str:
    try:
        moment = datetime.datetime.fromisoformat(text).astimezone(datetime.UTC)
    except (ValueError, OverflowError):
        return text
    digits = "%Y-%m-%dT%H:%M:%S.%fZ" if shape is Shape.MICROTIME else "%Y-%m-%dT%H:%M:%SZ"
    return moment.strftime(digits)
