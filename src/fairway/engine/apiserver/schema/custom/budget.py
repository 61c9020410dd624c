"""Rules that would cost too much are refused with the CRD that brings them (apiextensions, validation.go)."""

from collections.abc import Iterator
from typing import Final, NamedTuple

from fairway.engine.apiserver.schema.check import Cause
from fairway.engine.apiserver.schema.custom import causes
from fairway.engine.apiserver.schema.custom.costs import estimate
from fairway.engine.apiserver.schema.custom.node import Raw
from fairway.engine.apiserver.schema.custom.sizes import cardinality

RULE_LIMIT: Final = 10_000_000
SCHEMA_LIMIT: Final = 100_000_000
_NAMED: Final = 4
_HINT: Final = (
    "(try simplifying the rule, or adding maxItems, maxProperties, and maxLength where arrays, maps, and strings are "
    "declared)"
)
_ALL: Final = "estimated rule & messageExpression cost total"


class _Cost(NamedTuple):
    amount: int
    path: str


def over_budget(raw: Raw, path: str) -> list[Cause]:
    """What the rules of a sound schema at `path` may not cost."""
    costs = list(_costs(raw, path, 1))
    found = [
        causes.forbidden(cost.path, _exceeds("estimated rule cost", cost.amount, RULE_LIMIT))
        for cost in costs
        if cost.amount > RULE_LIMIT
    ]
    total = sum(cost.amount for cost in costs)
    if total > SCHEMA_LIMIT:
        says = f"contributed to {_ALL} exceeding cost limit for entire OpenAPIv3 schema"
        most = sorted(costs, key=lambda cost: -cost.amount)[:_NAMED]
        found += [causes.forbidden(cost.path, says) for cost in most if cost.amount]
        name = f"x-kubernetes-validations {_ALL} for entire OpenAPIv3 schema"
        found.append(causes.forbidden(path, _exceeds(name, total, SCHEMA_LIMIT)))
    return found


def _costs(raw: Raw, path: str, times: int | None) -> Iterator[_Cost]:
    """Of every expression; `times` is how often the value can be there, None when only the request bounds it."""
    often = cardinality(raw) if times is None else times
    for index, rule in enumerate(raw.get("x-kubernetes-validations") or ()):
        for key in ("rule", "messageExpression"):
            if rule.get(key):
                where = f"{path}.x-kubernetes-validations[{index}].{key}"
                yield _Cost(_cost(str(rule[key]), raw) * often, where)
    for name, field in (raw.get("properties") or {}).items():
        yield from _costs(field, f"{path}.properties[{name}]", times)
    for key, most in (("items", "maxItems"), ("additionalProperties", "maxProperties")):
        if isinstance(raw.get(key), dict):
            bound = raw.get(most)
            inner = None if times is None or bound is None else times * max(int(bound), 0)
            yield from _costs(raw[key], f"{path}.{key}", inner)


def _cost(source: str, raw: Raw) -> int:
    try:
        return estimate(source, raw)
    except (ValueError, RecursionError):
        return 0  # whoever runs rules found it to be CEL; what only they can read is bounded when it runs


def _exceeds(name: str, cost: int, limit: int) -> str:
    factor = cost / limit
    shown = "more than 100x" if factor > 100 else f"{factor:f}x" if factor < 1.5 else f"{factor:.1f}x"
    return f"{name} exceeds budget by factor of {shown} {_HINT}"
