"""Label selectors: the object form of specs and the text form of queries."""

import re
from collections.abc import Callable, Mapping

import msgspec

from fairway.kube.api.meta import LabelSelector, LabelSelectorRequirement

Labels = Mapping[str, str]

_NAME = r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?"
_KEY = rf"(?:[a-z0-9](?:[-a-z0-9.]*[a-z0-9])?/)?{_NAME}"
_SET = re.compile(rf"^({_KEY})\s+(in|notin)\s*\(([^()]*)\)$")
_EQUAL = re.compile(rf"^({_KEY})\s*(==|=|!=)\s*({_NAME})?$")
_ORDER = re.compile(rf"^({_KEY})\s*([<>])\s*(-?\d+)$")
_EXISTS = re.compile(rf"^(!?)\s*({_KEY})$")


class Requirement(msgspec.Struct, frozen=True):
    """A label key, an operator (In, NotIn, Exists, DoesNotExist; in queries also Gt, Lt) and its values."""

    key: str
    operator: str
    values: tuple[str, ...] = ()

    def matches(self, labels: Labels) -> bool:
        value = labels.get(self.key)
        return _OPERATORS[self.operator](value, self.values)


_OPERATORS: dict[str, Callable[[str | None, tuple[str, ...]], bool]] = {
    "In": lambda value, values: value is not None and value in values,
    "NotIn": lambda value, values: value is None or value not in values,
    "Exists": lambda value, _: value is not None,
    "DoesNotExist": lambda value, _: value is None,
    "Gt": lambda value, values: _whole(value) and int(value or 0) > int(values[0]),
    "Lt": lambda value, values: _whole(value) and int(value or 0) < int(values[0]),
}


def _whole(value: str | None) -> bool:
    """Whether a label is a number that can be compared."""
    return value is not None and re.fullmatch(r"[-+]?\d+", value) is not None


class Selector(msgspec.Struct, frozen=True):
    """All requirements must hold; without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Labels) -> bool:
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __str__(self) -> str:
        return ",".join(_text(requirement) for requirement in self.requirements)


def _text(requirement: Requirement) -> str:
    match requirement.operator:
        case "Exists":
            return requirement.key
        case "DoesNotExist":
            return f"!{requirement.key}"
        case "In" if len(requirement.values) == 1:
            return f"{requirement.key}={requirement.values[0]}"
        case "Gt" | "Lt":
            return f"{requirement.key}{'>' if requirement.operator == 'Gt' else '<'}{requirement.values[0]}"
        case operator:
            return f"{requirement.key} {operator.lower()} ({','.join(requirement.values)})"


def from_labels(labels: Labels) -> Selector:
    """Every label must have exactly this value."""
    return Selector(tuple(Requirement(key, "In", (value,)) for key, value in sorted(labels.items())))


def from_object(selector: LabelSelector) -> Selector:
    """The selector of a spec; an empty one matches everything."""
    expressions = tuple(_requirement(expression) for expression in selector.match_expressions)
    return Selector(from_labels(selector.match_labels).requirements + expressions)


def _requirement(expression: LabelSelectorRequirement) -> Requirement:
    if expression.operator not in _OPERATORS or expression.operator in ("Gt", "Lt"):
        raise ValueError(f'"{expression.operator}" is not a valid label selector operator')
    return Requirement(expression.key, expression.operator, expression.values)


def parse(text: str) -> Selector:
    """The text form of a query: `app=web,tier in (a, b),!old`.

    Raises ValueError naming what cannot be read, in the words of apimachinery's labels.Parse.
    """
    try:
        return Selector(tuple(_parse_part(part.strip()) for part in _split(text) if part.strip()))
    except ValueError as error:
        raise ValueError(_fault(text) or str(error)) from error


def _split(text: str) -> list[str]:
    """Split at commas that are not inside parentheses."""
    return re.split(r",(?![^()]*\))", text)


def _parse_part(part: str) -> Requirement:
    if match := _SET.match(part):
        values = tuple(value.strip() for value in match[3].split(","))
        return Requirement(match[1], "In" if match[2] == "in" else "NotIn", values)
    if match := _EQUAL.match(part):
        return Requirement(match[1], "NotIn" if match[2] == "!=" else "In", (match[3] or "",))
    if match := _ORDER.match(part):
        return Requirement(match[1], "Gt" if match[2] == ">" else "Lt", (match[3],))
    if match := _EXISTS.match(part):
        return Requirement(match[2], "DoesNotExist" if match[1] else "Exists")
    raise ValueError(f'unable to parse requirement: "{part}"')


_TOKEN = re.compile(r"==|!=|[=<>(),!]|[^\s=<>(),!]+")
_SYMBOLS = frozenset({"==", "!=", "=", "<", ">", "(", ")", ",", "!", ""})
_ENDS = ("", ",")


def _fault(text: str) -> str:
    """What is wrong with the order of the tokens; "" if nothing, and a name or a value is wrong."""
    rest = [*_TOKEN.findall(text), ""][::-1]  # read from its end; "" is the end of the text
    while rest[-1]:
        if rest[-1] in _SYMBOLS and rest[-1] != "!":
            return f"found '{rest[-1]}', expected: !, identifier, or 'end of string'"
        problem = _requirement_fault(rest)
        if problem:
            return f"unable to parse requirement: {problem}"
        after = rest.pop()
        if after not in _ENDS:
            return f"found '{after}', expected: ',' or 'end of string'"
        if after == "":
            break
        if rest[-1] in _SYMBOLS and rest[-1] != "!":
            return f"found '{rest[-1]}', expected: identifier after ','"
    return ""


def _requirement_fault(rest: list[str]) -> str:
    """Takes one requirement's tokens from the end of `rest`, up to what is wrong with it."""
    negated = rest[-1] == "!"
    if negated:
        rest.pop()
    if rest[-1] in _SYMBOLS:
        return f"found '{rest[-1]}', expected: identifier"
    rest.pop()
    if negated or rest[-1] in _ENDS:
        return ""
    operator = rest.pop()
    if operator in ("in", "notin"):
        return _values_fault(rest)
    if operator not in ("=", "==", "!=", "<", ">"):
        return f"found '{operator}', expected: in, notin, =, ==, !=, gt, lt"
    if rest[-1] in _ENDS:
        return ""
    return f"found '{rest[-1]}', expected: identifier" if rest[-1] in _SYMBOLS else _taken(rest)


def _values_fault(rest: list[str]) -> str:
    if rest[-1] != "(":
        return f"found '{rest[-1]}' expected: '('"
    rest.pop()
    while rest[-1] == "," or rest[-1] not in _SYMBOLS:
        rest.pop()
    return _taken(rest) if rest[-1] == ")" else f"found '{rest[-1]}', expected: ',' or ')'"


def _taken(rest: list[str]) -> str:
    rest.pop()
    return ""
