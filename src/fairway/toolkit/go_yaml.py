"""YAML as the tools that are written in Go read it: kubectl, Helm, and what they talk to.

Their library is of YAML 1.1, but for numbers in base 60 and for dates, which stay text, and with more ways to write a
number. A key that is no text becomes one, for the end of it all is JSON.
Source: https://github.com/kubernetes-sigs/yaml (goyaml.v2, resolve.go)
"""

import math
import re
from typing import Any, Final

import yaml

_TRUE: Final = ("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON")
_FALSE: Final = ("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF")
# Underscores may stand anywhere behind the first character; when that is a dot, only between digits.
_NUMBER: Final = re.compile(
    r"^(?:\.[0-9]+(?:_[0-9]+)*(?:[eE][-+]?[0-9]+(?:_[0-9]+)*)?"
    r"|(?:[-+]_*)?(?:0_*[bB][01_]+|0_*[oO][0-7_]+|0_*[xX][0-9a-fA-F_]+"
    r"|(?:[0-9][0-9_]*(?:\.[0-9_]*)?|(?<=[-+_])\._*[0-9][0-9_]*)(?:[eE]_*(?:[-+]_*)?[0-9][0-9_]*)?))$"
)
_SPECIAL: Final = re.compile(r"^(?:[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$")
_WORDS: Final = {**dict.fromkeys(_TRUE, True), **dict.fromkeys(_FALSE, False)}
_LEFT_OUT: Final = ("timestamp", "value", "bool", "int", "float")
_INTEGER_MIN: Final = -(2**63)
_INTEGER_MAX: Final = 2**64 - 1
_WHOLE_BELOW: Final = 1e21
"""From there on a float is written with an exponent also when it is whole."""
_TAG: Final = "tag:yaml.org,2002:"


class Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]  # a base that is chosen as it runs
    """Safe YAML."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[str, Any]:
        """As the parent does it, but that in Python 1 and True are one key, and here they are two."""
        if not isinstance(node, yaml.MappingNode):
            raise _refusal(node, "here should be keys with values")
        self.flatten_mapping(node)
        return {
            _key(key, self.construct_object(key, deep=deep)): self.construct_object(value, deep=deep)
            for key, value in node.value
        }


def add_words(to: Any) -> None:
    """Let a loader, or a dumper, know bare words that do not stand for themselves; a dumper then puts quotes around."""
    to.add_implicit_resolver(f"{_TAG}bool", re.compile(f"^(?:{'|'.join(_WORDS)})$"), list("yYnNtTfFoO"))
    to.add_implicit_resolver(f"{_TAG}float", _NUMBER, list("-+.0123456789"))
    to.add_implicit_resolver(f"{_TAG}special", _SPECIAL, list("-+."))


def _key(node: yaml.Node, key: Any) -> str:
    if type(key) is str:
        return key
    if isinstance(key, bool):
        return "true" if key else "false"
    if isinstance(key, int | float):
        return str(key)
    raise _refusal(node, f"{key!r:.80} cannot be a key")


def _bool(_: Loader, node: yaml.ScalarNode) -> bool:
    if node.value not in _WORDS:
        raise _refusal(node, f"{node.value!r:.80} is neither true nor false")
    return _WORDS[node.value]


def _number(_: Loader, node: yaml.ScalarNode) -> int | float | str:
    """Whole numbers are int, as JSON does not tell 1 from 1.0; what no number can hold stays text."""
    plain = node.value.replace("_", "")
    try:
        whole = _whole(plain)
        if whole is not None and _INTEGER_MIN <= whole <= _INTEGER_MAX:
            return whole
        made = float(plain)
    except ValueError:
        return str(node.value)
    if math.isinf(made):
        return str(node.value)
    return int(made) if made.is_integer() and abs(made) < _WHOLE_BELOW else made


def _whole(plain: str) -> int | None:
    sign, digits = (-1, plain[1:]) if plain.startswith("-") else (1, plain.removeprefix("+"))
    if digits[:2].lower() in ("0x", "0o", "0b"):
        return sign * int(digits, 0)
    if digits.startswith("0") and re.fullmatch("[0-7]+", digits):
        return sign * int(digits, 8)
    return sign * int(digits) if digits.isdigit() and not digits.startswith("0") else None


def _special(_: Loader, node: yaml.ScalarNode) -> float:
    raise _refusal(node, f"{node.value} cannot be told in JSON")


def _refusal(node: yaml.Node, why: str) -> yaml.YAMLError:
    return yaml.constructor.ConstructorError(None, None, why, node.start_mark)


Loader.yaml_implicit_resolvers = {
    first: kept
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
    if (kept := [(tag, pattern) for tag, pattern in resolvers if tag.removeprefix(_TAG) not in _LEFT_OUT])
}
add_words(Loader)
Loader.add_constructor(f"{_TAG}bool", _bool)
Loader.add_constructor(f"{_TAG}int", _number)
Loader.add_constructor(f"{_TAG}float", _number)
Loader.add_constructor(f"{_TAG}special", _special)
