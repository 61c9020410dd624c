"""FlowSchemas and PriorityLevelConfigurations: defaults and rules of flowcontrol.apiserver.k8s.io/v1."""

from collections.abc import Iterable

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.defaulting import child, fill_numbers
from fairway.engine.apiserver.resources.kind import Cause, Object

_PRECEDENCE, _PRECEDENCE_MAX = 1000, 10_000
_QUEUES = {"queues": 64, "handSize": 8, "queueLengthLimit": 50}
_SUBJECTS = {"User": "user", "Group": "group", "ServiceAccount": "serviceAccount"}
_METHODS = ("ByNamespace", "ByUser")


def default_schema(schema: Object) -> None:
    """What a FlowSchema does not say."""
    spec = schema.get("spec")
    if spec is not None and not spec.get("matchingPrecedence"):
        spec["matchingPrecedence"] = _PRECEDENCE


def default_level(level: Object) -> None:
    """What a PriorityLevelConfiguration does not say."""
    spec = level.get("spec") or {}
    if spec.get("type") == "Exempt":
        fill_numbers(child(spec, "exempt"), {"nominalConcurrencyShares": 0, "lendablePercent": 0})
    limited = spec.get("limited")
    if limited is None:
        return
    fill_numbers(limited, {"nominalConcurrencyShares": 30, "lendablePercent": 0})
    queuing = (limited.get("limitResponse") or {}).get("queuing")
    if queuing is not None:
        fill_numbers(queuing, _QUEUES)


def validate_schema(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a FlowSchema."""
    spec = new.get("spec") or {}
    precedence = spec.get("matchingPrecedence")
    found: list[Cause] = []
    if precedence is not None and not 1 <= precedence <= _PRECEDENCE_MAX:
        says = f"must be a value between 1 and {_PRECEDENCE_MAX} inclusive"
        found.append(causes.invalid("spec.matchingPrecedence", precedence, says))
    method = spec.get("distinguisherMethod")
    if method is not None:
        found += causes.one_of("spec.distinguisherMethod", method.get("type"), _METHODS)
    field = "spec.priorityLevelConfiguration.name"
    name = (spec.get("priorityLevelConfiguration") or {}).get("name") or ""
    found += (
        causes.invalid_each(field, name, names.dns_subdomain(name))
        if name
        else [causes.required(field, "must reference a priority level")]
    )
    for index, rule in enumerate(spec.get("rules") or ()):
        found += _rule(rule, f"spec.rules[{index}]")
    return found


def _rule(rule: Object, field: str) -> list[Cause]:
    subjects = rule.get("subjects") or []
    found = [] if subjects else [causes.required(f"{field}.subjects", "subjects must contain at least one value")]
    for index, subject in enumerate(subjects):
        found += _subject(subject, f"{field}.subjects[{index}]")
    resources, paths = rule.get("resourceRules") or (), rule.get("nonResourceRules") or ()
    if not resources and not paths:
        says = "at least one of resourceRules and nonResourceRules has to be non-empty"
        found.append(causes.required(field, says))
    for index, item in enumerate(resources):
        found += _filled(item, f"{field}.resourceRules[{index}]", ("verbs", "apiGroups", "resources"))
        if not item.get("namespaces") and not item.get("clusterScope"):
            says = "resource rules that are not cluster scoped must supply at least one namespace"
            found.append(causes.required(f"{field}.resourceRules[{index}].namespaces", says))
    for index, item in enumerate(paths):
        found += _filled(item, f"{field}.nonResourceRules[{index}]", ("verbs", "nonResourceURLs"))
    return found


def _subject(subject: Object, field: str) -> list[Cause]:
    kind = subject.get("kind") or ""
    if kind not in _SUBJECTS:
        return [causes.unsupported(f"{field}.kind", kind, sorted(_SUBJECTS))]
    part = _SUBJECTS[kind]
    found = [
        causes.forbidden(f"{field}.{other}", f"{other} is forbidden when subject kind is not '{name}'")
        for name, other in _SUBJECTS.items()
        if other != part and subject.get(other) is not None
    ]
    if subject.get(part) is None:
        return [*found, causes.required(f"{field}.{part}", f"{part} is required when subject kind is '{kind}'")]
    return found + ([] if subject[part].get("name") else [causes.required(f"{field}.{part}.name")])


def _filled(item: Object, field: str, keys: Iterable[str]) -> list[Cause]:
    found: list[Cause] = []
    for key in keys:
        given = item.get(key) or []
        if not given:
            found.append(causes.required(f"{field}.{key}", f"{key} must contain at least one value"))
        elif "*" in given and len(given) > 1:
            says = f"if '*' is present, must not specify other {key}"
            found.append(causes.invalid(f"{field}.{key}", given, says))
    return found


def validate_level(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a PriorityLevelConfiguration."""
    spec = new.get("spec") or {}
    kind, limited, exempt = spec.get("type"), spec.get("limited"), spec.get("exempt")
    match kind:
        case "Exempt":
            says = "must be nil if the type is not Limited"
            return [] if limited is None else [causes.forbidden("spec.limited", says)]
        case "Limited":
            found = []
            if exempt is not None:
                found.append(causes.forbidden("spec.exempt", "must be nil if the type is Limited"))
            if limited is None:
                return [*found, causes.required("spec.limited", "must not be empty when type is Limited")]
            return found + _limited(limited, "spec.limited")
    return [causes.unsupported("spec.type", kind or "", ("Exempt", "Limited"))]


def _limited(limited: Object, field: str) -> list[Cause]:
    found = causes.negative(f"{field}.nominalConcurrencyShares", limited.get("nominalConcurrencyShares"))
    percent = limited.get("lendablePercent")
    if percent is not None and not 0 <= percent <= 100:
        found.append(causes.invalid(f"{field}.lendablePercent", percent, "must be between 0 and 100, inclusive"))
    response = limited.get("limitResponse") or {}
    kind, queuing, place = response.get("type"), response.get("queuing"), f"{field}.limitResponse"
    if kind not in ("Queue", "Reject"):
        return [*found, causes.unsupported(f"{place}.type", kind or "", ("Queue", "Reject"))]
    if kind == "Reject":
        says = "must be nil if limited.limitResponse.type is not Limited"
        return found + ([] if queuing is None else [causes.forbidden(f"{place}.queuing", says)])
    if queuing is None:
        says = "must not be empty if limited.limitResponse.type is Limited"
        return [*found, causes.required(f"{place}.queuing", says)]
    for key in _QUEUES:
        number = queuing.get(key)
        if number is not None and number <= 0:
            found.append(causes.invalid(f"{place}.queuing.{key}", number, "must be positive"))
    hand, queues = queuing.get("handSize") or 0, queuing.get("queues") or 0
    if hand > queues:
        says = f"should not be greater than queues ({queues})"
        found.append(causes.invalid(f"{place}.queuing.handSize", hand, says))
    return found
