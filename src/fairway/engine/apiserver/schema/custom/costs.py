"""What rules cost at worst, estimated from sizes when a CRD comes: KEP-2876, in cel-go's units.

A step is one unit; walking over text costs a tenth of its bytes; a loop costs its body for each element.
"""

from collections.abc import Mapping
from typing import Final, NamedTuple

from fairway.engine.apiserver.schema.custom.node import Raw
from fairway.engine.apiserver.schema.custom.rewriting import MACROS
from fairway.engine.apiserver.schema.custom.rule_values import escaped
from fairway.engine.apiserver.schema.custom.sizes import REQUEST_BYTES, Sized, sized
from fairway.engine.apiserver.schema.custom.syntax import Expression, parse

Names = Mapping[str, Sized]

_MAKING_A_LIST: Final = 10
_MAKING_A_MAP: Final = 30
_CONDITION: Final = {"all": 3, "exists": 4, "exists_one": 2, "existsOne": 2, "filter": 13, "map": 12}
"""What a turn of a loop costs besides its body."""
_AROUND: Final = {"all": 1, "exists": 1, "exists_one": 2, "existsOne": 2, "filter": 11, "map": 11}
_COMPARED: Final = frozenset({"==", "!=", "<", "<=", ">", ">="})
_PAIRWISE: Final = frozenset({"contains", "intersects", "equivalent"})
_WALKED_LISTS: Final = frozenset({"isSorted", "sum", "min", "max"})
_STEPPED: Final = frozenset(
    {"size", "type", "int", "uint", "double", "bool", "dyn", "hasValue", "value", "orValue", "or"}
)
_SHORTENING: Final = frozenset({"find", "substring", "trim", "lowerAscii", "upperAscii", "string", "charAt"})
_NUMBERS: Final = Sized()
_ANYTHING: Final = Sized(REQUEST_BYTES, "any")
_TEXT_TYPE: Final = "string"


class Estimate(NamedTuple):
    """The worst cost of an expression, and how large its value is."""

    cost: int
    value: Sized = _NUMBERS


def estimate(source: str, schema: Raw) -> int:
    """The worst cost of one run of a rule on a value of `schema`.  Raises ValueError when it is not CEL."""
    own = sized(schema)
    return _of(parse(source), {"self": own, "oldSelf": own}).cost


def _of(each: Expression, names: Names) -> Estimate:
    match each.kind:
        case "literal":
            return Estimate(0, Sized(max(len(each.text) - 2, 1), "text") if each.text[-1:] in "'\"" else _NUMBERS)
        case "name":
            return Estimate(1, names.get(each.text, _NUMBERS))
        case "select":
            operand = _of(each.parts[0], names)
            return Estimate(operand.cost + 1, _field(operand.value, each.text))
        case "index":
            operand, key = (_of(part, names) for part in each.parts)
            return Estimate(operand.cost + key.cost + 1, _element(operand.value))
        case "list":
            parts = [_of(part, names) for part in each.parts]
            element = max((part.value for part in parts), key=lambda value: value.size, default=None)
            return Estimate(_sum(parts) + _MAKING_A_LIST, Sized(len(parts), "list", None, element))
        case "map":
            parts = [_of(part, names) for part in each.parts]
            return Estimate(_sum(parts) + _MAKING_A_MAP, Sized(len(parts) // 2, "map"))
        case "choice":
            condition, first, second = (_of(part, names) for part in each.parts)
            larger = max(first.value, second.value, key=lambda value: value.size)
            return Estimate(condition.cost + max(first.cost, second.cost), larger)
        case "method":
            return _method(each, names)
    return _call(each, names)


def _call(each: Expression, names: Names) -> Estimate:
    if each.text == "has" and each.parts and each.parts[0].kind == "select":
        return Estimate(_of(each.parts[0].parts[0], names).cost)
    parts = [_of(part, names) for part in each.parts]
    before, values = _sum(parts), [part.value for part in parts]
    if each.text in ("&&", "||"):
        return Estimate(before)
    if each.text in _COMPARED and len(values) == 2:
        return Estimate(before + _walk(min(value.size for value in values)))
    if each.text == "in" and len(values) == 2:
        return Estimate(before + (values[1].size if values[1].kind in ("list", "any") else 1))
    if each.text == "+" and any(value.kind in ("text", "list") for value in values):
        total = sum(value.size for value in values)
        return Estimate(before + _walk(total), Sized(total, values[0].kind, None, values[0].element))
    return _function(each.text, before, values)


def _method(each: Expression, names: Names) -> Estimate:
    target, *arguments = each.parts
    if each.text in MACROS and arguments and arguments[0].kind == "name":
        return _macro(each.text, target, tuple(arguments), names)
    parts = [_of(part, names) for part in each.parts]
    return _function(each.text, _sum(parts), [part.value for part in parts])


def _macro(name: str, target: Expression, arguments: tuple[Expression, ...], names: Names) -> Estimate:
    """A loop; its last arguments are what is evaluated each time, with the variables bound that come first."""
    if name == "bind":
        value = _of(arguments[1], names)
        result = _of(arguments[2], {**names, arguments[0].text: value.value})
        return Estimate(value.cost + result.cost + 1, result.value)
    over = _of(target, names)
    if name in ("optMap", "optFlatMap"):
        inner = _of(arguments[-1], {**names, arguments[0].text: over.value})
        return Estimate(over.cost + inner.cost + 2, inner.value)
    bodies = 2 if name == "map" and len(arguments) > 2 else 1
    bound = [part.text for part in arguments[:-bodies]]
    element = _turn(over.value)
    inside = {**names, **dict.fromkeys(bound, element)}
    if len(bound) > 1:
        inside[bound[1]] = _element(over.value)
    body = [_of(part, inside) for part in arguments[-bodies:]]
    cost = over.cost + over.value.size * (_CONDITION[name] + _sum(body)) + _AROUND[name]
    if name == "map":
        return Estimate(cost, Sized(over.value.size, "list", None, body[-1].value))
    return Estimate(cost, Sized(over.value.size, "list", None, element) if name == "filter" else _NUMBERS)


def _function(name: str, before: int, values: list[Sized]) -> Estimate:
    sizes = [value.size for value in values] or [1]
    first, last = sizes[0], sizes[-1]
    if name in _STEPPED or not values:
        return Estimate(before + 1, values[-1] if name in ("orValue", "value", "or") and values else _NUMBERS)
    if name in ("matches", "find", "findAll"):
        cost = before + max(_walk(first + 1) * max(-(-last // 4), 1), 1)
        return Estimate(cost, Sized(first, "list" if name == "findAll" else "text", None, Sized(first, "text")))
    if name in _PAIRWISE and values[-1].kind == "list":
        return Estimate(before + sizes[-2] * last if len(sizes) > 1 else before + last)
    if name == "contains":
        return Estimate(before + _walk(first) * max(_walk(last), 1))
    if name in ("startsWith", "endsWith"):
        return Estimate(before + _walk(last))
    if name in _WALKED_LISTS or (name in ("indexOf", "lastIndexOf") and values[0].kind == "list"):
        return Estimate(before + first)
    return Estimate(before + max(_walk(first), 1), _made(name, values))


def _made(name: str, values: list[Sized]) -> Sized:
    """What other functions give: no more than they take, but where texts are put together."""
    first = values[0]
    if name == "split":
        return Sized(first.size, "list", None, Sized(first.size, "text"))
    if name == "join":
        return Sized(first.size * (first.element or _ANYTHING).size, "text")
    if name in ("replace", "format"):
        return Sized(min(sum(value.size for value in values) ** 2, REQUEST_BYTES), "text")
    return Sized(first.size, "text") if name in _SHORTENING else _NUMBERS


def _field(value: Sized, name: str) -> Sized:
    schema = value.schema
    if schema is None:
        return value.element or (_ANYTHING if value.kind == "any" else _NUMBERS)
    for field, inner in (schema.get("properties") or {}).items():
        if name in (field, escaped(field)):
            return sized(inner)
    return _element(value) if value.kind == "map" else _ANYTHING


def _element(value: Sized) -> Sized:
    if value.element is not None:
        return value.element
    inner = (value.schema or {}).get("items" if value.kind == "list" else "additionalProperties")
    return sized(inner) if isinstance(inner, dict) else _ANYTHING


def _turn(value: Sized) -> Sized:
    """What a loop over a value sees: elements of a list, keys of a map."""
    return Sized(REQUEST_BYTES, "text") if value.kind == "map" else _element(value)


def _walk(size: int) -> int:
    return -(-size // 10)


def _sum(parts: list[Estimate]) -> int:
    return sum(part.cost for part in parts)
