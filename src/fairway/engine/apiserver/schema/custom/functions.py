"""The functions that Kubernetes adds to CEL, for the library to call ("Common Expression Language in Kubernetes").

Values of types that the library does not have (quantities, addresses, URLs) are maps with one telling key.
"""

import base64
import datetime
import ipaddress
import re
from collections.abc import Callable
from decimal import Decimal
from fractions import Fraction
from itertools import pairwise
from typing import Any, Final
from urllib.parse import parse_qs, urlsplit

from fairway.engine.apiserver.schema.custom.formats import FORMATS
from fairway.engine.apiserver.schema.scalars import well_formed
from fairway.engine.apiserver.schema.types import Shape
from fairway.kube.api import quantities
from fairway.toolkit import expressions

_QUANTITY: Final = "quantity"
_IP: Final = "ip"
_CIDR: Final = "cidr"
_URL: Final = "url"
_FORMAT: Final = "format"


# --- what the library does differently


def _size(value: Any) -> int:
    return len(value)


def _string(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() and abs(value) < 1e21 else repr(value)
    if isinstance(value, bytes):
        return value.decode()
    if isinstance(value, datetime.datetime):
        return value.astimezone(datetime.UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, datetime.timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, dict):
        return str(value.get(_IP) or value.get(_CIDR) or value)
    return str(value)


def _member(value: Any, key: Any) -> Any:
    """The member or element in an optional; what is given may be one already."""
    if expressions.is_optional(value):
        if not value.has_value():
            return value
        value = value.value()
    if isinstance(value, dict):
        return expressions.some(value[key]) if key in value else expressions.nothing()
    if isinstance(value, list):
        return expressions.some(value[key]) if 0 <= key < len(value) else expressions.nothing()
    raise TypeError("no such overload")


def _as_list(value: Any) -> list[Any]:
    return [value.value()] if value.has_value() else []


def _first(values: list[Any]) -> Any:
    return expressions.some(values[0]) if values else expressions.nothing()


def _flat(values: list[Any]) -> Any:
    return values[0] if values else expressions.nothing()


# --- strings


def _find(text: str, pattern: str) -> str:
    match = re.search(pattern, text)
    return match[0] if match else ""


def _find_all(text: str, pattern: str, limit: int = -1) -> list[str]:
    found = [match[0] for match in re.finditer(pattern, text)]
    return found if limit < 0 else found[:limit]


def _split(text: str, separator: str, limit: int = -1) -> list[str]:
    if limit == 0:
        return []
    if limit == 1:
        return [text]
    if not separator:
        parts = list(text)
        return parts if limit < 0 else [*parts[: limit - 1], "".join(parts[limit - 1 :])]
    return text.split(separator, limit - 1 if limit > 0 else -1)


def _join(parts: list[str], separator: str = "") -> str:
    return separator.join(parts)


def _replace(text: str, old: str, new: str, limit: int = -1) -> str:
    return text.replace(old, new, limit)


def _substring(text: str, start: int, end: int | None = None) -> str:
    end = len(text) if end is None else end
    if not 0 <= start <= end <= len(text):
        raise IndexError(f"index out of range: {start}")
    return text[start:end]


def _char_at(text: str, index: int) -> str:
    return _substring(text, index, min(index + 1, len(text)))


def _index_of(whole: Any, part: Any, start: int = 0) -> int:
    if isinstance(whole, str):
        return whole.find(part, start)
    return next((index for index, item in enumerate(whole) if item == part), -1)


def _last_index_of(whole: Any, part: Any, start: int | None = None) -> int:
    if isinstance(whole, str):
        return whole.rfind(part) if start is None else whole.rfind(part, 0, start + len(part))
    return next((index for index in range(len(whole) - 1, -1, -1) if whole[index] == part), -1)


def _ascii(text: str, change: Callable[[str], str]) -> str:
    return "".join(change(char) if char.isascii() else char for char in text)


def _formatted(text: str, values: list[Any]) -> str:
    pending = iter(values)

    def one(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        value, verb = next(pending), match[2]
        if verb == "s":
            return _string(value)
        if verb == "d":
            return str(int(value))
        if verb in ("f", "e"):
            return f"{float(value):{match[1] or '.6'}{verb}}"
        if verb == "b":
            return f"{int(value):b}"
        return f"{int(value):{verb}}" if not isinstance(value, str) else value.encode().hex()

    return re.sub(r"%%|%(\.\d+)?([sdfebxXo])", one, text)


# --- lists and sets


def _sorted(values: list[Any]) -> bool:
    return all(one <= other for one, other in pairwise(values))


def _sum(values: list[Any]) -> Any:
    if values and isinstance(values[0], datetime.timedelta):
        return sum(values, datetime.timedelta())
    return sum(values)


def _least(*values: Any) -> Any:
    return min(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _greatest(*values: Any) -> Any:
    return max(values[0] if len(values) == 1 and isinstance(values[0], list) else values)


def _contains_all(whole: list[Any], part: list[Any]) -> bool:
    return all(item in whole for item in part)


def _reverse(value: Any) -> Any:
    return value[::-1]


def _flatten(values: list[Any], depth: int = 1) -> list[Any]:
    flat: list[Any] = []
    for item in values:
        if isinstance(item, list) and depth:
            flat += _flatten(item, depth - 1)
        else:
            flat.append(item)
    return flat


def _distinct(values: list[Any]) -> list[Any]:
    found: list[Any] = []
    for item in values:
        if item not in found:
            found.append(item)
    return found


# --- quantities


def _is_quantity(text: str) -> bool:
    return well_formed(Shape.QUANTITY, text)


def _quantity(text: str) -> dict[str, str]:
    if not _is_quantity(text):
        raise ValueError("quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'")
    return _exact(Fraction(quantities.parse(text)))


def _exact(value: Fraction) -> dict[str, str]:
    return {_QUANTITY: f"{value.numerator}/{value.denominator}"}


def _amount(value: Any) -> Fraction:
    return Fraction(value[_QUANTITY]) if isinstance(value, dict) else Fraction(value)


def _order(one: Fraction, other: Fraction) -> int:
    return (one > other) - (one < other)


def _whole(value: Any) -> int:
    amount = _amount(value)
    if amount.denominator != 1:
        raise ValueError("cannot convert value to integer")
    return amount.numerator


# --- addresses


def _ip(value: Any) -> Any:
    """An address from text; of a network, the address it was written with."""
    if isinstance(value, dict) and _CIDR in value:
        return {_IP: value[_CIDR].partition("/")[0]}
    if not _is_ip(value):
        raise ValueError(f'IP Address "{value}" parse error during conversion from string')
    return {_IP: str(ipaddress.ip_address(value))}


def _is_ip(value: str) -> bool:
    return FORMATS["ipv4"](value) or (FORMATS["ipv6"](value) and "%" not in value)


def _cidr(value: str) -> Any:
    if not FORMATS["cidr"](value):
        raise ValueError(f'network address parse error during conversion from string: "{value}"')
    return {_CIDR: value}


def _network(value: Any) -> Any:
    return ipaddress.ip_network(value[_CIDR] if isinstance(value, dict) else value, strict=False)


def _address(value: Any) -> Any:
    return ipaddress.ip_address(value[_IP] if isinstance(value, dict) else value)


def _contains_network(whole: Any, part: Any) -> bool:
    one, other = _network(whole), _network(part)
    return bool(one.version == other.version and other.subnet_of(one))


def _masked(value: Any) -> Any:
    return {_CIDR: str(_network(value))}


def _global_unicast(value: Any) -> bool:
    address = _address(value)
    return not (address.is_unspecified or address.is_loopback or address.is_multicast or address.is_link_local)


# --- URLs


def _is_url(text: str) -> bool:
    return FORMATS["uri"](text)


def _url(text: str) -> Any:
    if not _is_url(text):
        raise ValueError(f'URL parse error during conversion from string: parse "{text}": invalid URI for request')
    return {_URL: text}


def _part(get: Callable[[Any], str]) -> Callable[[Any], str]:
    return lambda value: get(urlsplit(value[_URL]))


def _host_name(parts: Any) -> str:
    host: str = parts.netloc.rpartition("@")[2]
    if host.startswith("["):
        return host.partition("]")[0][1:]
    return host.partition(":")[0]


# --- named formats

_LABEL: Final = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_PATTERNS: Final = {
    "dns1123Label": (_LABEL, 63),
    "dns1123Subdomain": (rf"{_LABEL}(\.{_LABEL})*", 253),
    "dns1035Label": ("[a-z]([-a-z0-9]*[a-z0-9])?", 63),
    "dns1123LabelPrefix": (f"{_LABEL}-?", 63),
    "dns1123SubdomainPrefix": (rf"{_LABEL}(\.{_LABEL})*-?", 253),
    "dns1035LabelPrefix": ("[a-z]([-a-z0-9]*[a-z0-9])?-?", 63),
    "qualifiedName": (rf"({_LABEL}(\.{_LABEL})*/)?([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]", 317),
    "labelValue": ("(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?", 63),
}
_OTHERS: Final = {"uri": "uri", "uuid": "uuid", "byte": "byte", "date": "date", "datetime": "date-time"}


def _named(name: str) -> Callable[[], Any]:
    return lambda: {_FORMAT: name}


def _format_named(name: str) -> Any:
    known = name in _PATTERNS or name in _OTHERS
    return expressions.some({_FORMAT: name}) if known else expressions.nothing()


def _validate(rule: Any, text: str) -> Any:
    """No value when the text is fine, else what is wrong with it."""
    name = rule[_FORMAT]
    if name in _OTHERS:
        return expressions.nothing() if FORMATS[_OTHERS[name]](text) else expressions.some([f"invalid {name}"])
    pattern, limit = _PATTERNS[name]
    wrong = [f"must be no more than {limit} bytes"] if len(text.encode()) > limit else []
    if not re.fullmatch(pattern, text):
        wrong.append(f"must match the regex {pattern}")
    return expressions.some(wrong) if wrong else expressions.nothing()


FUNCTIONS: Final[dict[str, Callable[..., Any]]] = {
    "__size": _size,
    "__string": _string,
    "__select": _member,
    "__index": _member,
    "__list": _as_list,
    "__first": _first,
    "__flat": _flat,
    "find": _find,
    "findAll": _find_all,
    "split": _split,
    "join": _join,
    "replace": _replace,
    "substring": _substring,
    "charAt": _char_at,
    "__indexOf": _index_of,
    "__lastIndexOf": _last_index_of,
    "lowerAscii": lambda text: _ascii(text, str.lower),
    "upperAscii": lambda text: _ascii(text, str.upper),
    "trim": lambda text: text.strip(),
    "format": _formatted,
    "__strings_quote": lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"',
    "__base64_encode": lambda value: base64.b64encode(value).decode(),
    "__base64_decode": lambda text: base64.b64decode(text),
    "isSorted": _sorted,
    "sum": _sum,
    "min": lambda values: min(values),
    "max": lambda values: max(values),
    "reverse": _reverse,
    "flatten": _flatten,
    "distinct": _distinct,
    "sort": sorted,
    "__math_least": _least,
    "__math_greatest": _greatest,
    "__math_abs": abs,
    "__math_ceil": lambda value: float(-(-Decimal(value) // 1)),
    "__math_floor": lambda value: float(Decimal(value) // 1),
    "__sets_contains": _contains_all,
    "__sets_equivalent": lambda one, other: _contains_all(one, other) and _contains_all(other, one),
    "__sets_intersects": lambda one, other: any(item in other for item in one),
    "__lists_range": lambda count: list(range(count)),
    "isQuantity": _is_quantity,
    "quantity": _quantity,
    "sign": lambda value: _order(_amount(value), Fraction(0)),
    "isInteger": lambda value: _amount(value).denominator == 1,
    "asInteger": _whole,
    "asApproximateFloat": lambda value: float(_amount(value)),
    "add": lambda one, other: _exact(_amount(one) + _amount(other)),
    "sub": lambda one, other: _exact(_amount(one) - _amount(other)),
    "isGreaterThan": lambda one, other: _amount(one) > _amount(other),
    "isLessThan": lambda one, other: _amount(one) < _amount(other),
    "compareTo": lambda one, other: _order(_amount(one), _amount(other)),
    "isIP": _is_ip,
    "ip": _ip,
    "__ip_isCanonical": lambda text: str(ipaddress.ip_address(text)) == text,
    "family": lambda value: _address(value).version,
    "isUnspecified": lambda value: _address(value).is_unspecified,
    "isLoopback": lambda value: _address(value).is_loopback,
    "isLinkLocalMulticast": lambda value: _address(value).is_multicast and _address(value).is_link_local,
    "isLinkLocalUnicast": lambda value: _address(value).is_link_local,
    "isGlobalUnicast": _global_unicast,
    "isCIDR": lambda text: FORMATS["cidr"](text),
    "cidr": _cidr,
    "containsIP": lambda value, address: _address(address) in _network(value),
    "containsCIDR": _contains_network,
    "masked": _masked,
    "prefixLength": lambda value: _network(value).prefixlen,
    "isURL": _is_url,
    "url": _url,
    "getScheme": _part(lambda parts: parts.scheme),
    "getHost": _part(lambda parts: parts.netloc.rpartition("@")[2]),
    "getHostname": _part(_host_name),
    "getPort": _part(lambda parts: str(parts.port or "")),
    "getEscapedPath": _part(lambda parts: parts.path),
    "getQuery": lambda value: parse_qs(urlsplit(value[_URL]).query, keep_blank_values=True),
    "__format_named": _format_named,
    "validate": _validate,
    **{f"__format_{name}": _named(name) for name in (*_PATTERNS, *_OTHERS)},
}
