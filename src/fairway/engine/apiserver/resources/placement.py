"""What is wrong with where a pod wants to run: selectors, affinity, tolerations, spreading."""

from typing import Any

from fairway.engine.apiserver.resources import causes, names, selectors
from fairway.engine.apiserver.resources.kind import Cause, Object

_EFFECTS = ("NoSchedule", "PreferNoSchedule", "NoExecute")
_NODE_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt")
_REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"
_PREFERRED = "preferredDuringSchedulingIgnoredDuringExecution"
_SPREAD_ACTIONS = ("DoNotSchedule", "ScheduleAnyway")


def validate_placement(spec: Object, field: str) -> list[Cause]:
    """All of it, for one pod specification."""
    affinity = spec.get("affinity") or {}
    return [
        *selectors.validate_labels(spec.get("nodeSelector"), f"{field}.nodeSelector"),
        *_node_affinity(affinity.get("nodeAffinity") or {}, f"{field}.affinity.nodeAffinity"),
        *_pod_affinity(affinity.get("podAffinity") or {}, f"{field}.affinity.podAffinity"),
        *_pod_affinity(affinity.get("podAntiAffinity") or {}, f"{field}.affinity.podAntiAffinity"),
        *validate_tolerations(spec.get("tolerations") or (), f"{field}.tolerations"),
        *_spread(spec.get("topologySpreadConstraints") or (), f"{field}.topologySpreadConstraints"),
    ]


def validate_tolerations(tolerations: Any, field: str) -> list[Cause]:
    """core/v1 Toleration, each."""
    found: list[Cause] = []
    for index, toleration in enumerate(tolerations):
        found += _toleration(toleration, f"{field}[{index}]")
    return found


def _toleration(toleration: Object, path: str) -> list[Cause]:
    key, operator = toleration.get("key") or "", toleration.get("operator") or ""
    value, effect = toleration.get("value") or "", toleration.get("effect") or ""
    found = causes.invalid_each(f"{path}.key", key, names.qualified(key)) if key else []
    if not key and operator != "Exists":
        says = 'operator must be Exists when `key` is empty, which means "match all values and all keys"'
        found.append(causes.invalid(f"{path}.operator", operator, says))
    if toleration.get("tolerationSeconds") is not None and effect != "NoExecute":
        says = "effect must be 'NoExecute' when `tolerationSeconds` is set"
        found.append(causes.invalid(f"{path}.effect", effect, says))
    if operator in ("", "Equal"):
        found += causes.invalid_each(f"{path}.operator", value, names.label_value(value)[:1])
    elif operator == "Exists" and value:
        says = "value must be empty when `operator` is 'Exists'"
        found.append(causes.invalid(f"{path}.operator", toleration, says))
    elif operator != "Exists":
        found.append(causes.unsupported(f"{path}.operator", operator, ("Equal", "Exists")))
    return found + causes.one_of(f"{path}.effect", effect, _EFFECTS, needed=False)


def validate_taints(taints: Any, field: str) -> list[Cause]:
    """core/v1 Taint, each; a key and effect may be there once."""
    found: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for index, taint in enumerate(taints):
        path, key, effect = f"{field}[{index}]", taint.get("key") or "", taint.get("effect") or ""
        found += causes.invalid_each(f"{path}.key", key, names.qualified(key))
        found += causes.invalid_each(f"{path}.value", taint.get("value"), names.label_value(taint.get("value") or ""))
        found += causes.one_of(f"{path}.effect", effect, _EFFECTS)
        if (key, effect) in seen:
            found.append(causes.duplicate(path, taint))
        seen.add((key, effect))
    return found


def _node_affinity(affinity: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    needed = affinity.get(_REQUIRED)
    if needed is not None:
        found += validate_node_selector(needed, f"{path}.{_REQUIRED}")
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        found += _weight(term, at) + _node_term(term.get("preference") or {}, f"{at}.preference")
    return found


def validate_node_selector(selector: Object, path: str) -> list[Cause]:
    """core/v1 NodeSelector."""
    terms = selector.get("nodeSelectorTerms") or ()
    if not terms:
        return [causes.required(f"{path}.nodeSelectorTerms", "must have at least one node selector term")]
    found: list[Cause] = []
    for index, term in enumerate(terms):
        found += _node_term(term, f"{path}.nodeSelectorTerms[{index}]")
    return found


def _node_term(term: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for kind in ("matchExpressions", "matchFields"):
        for index, requirement in enumerate(term.get(kind) or ()):
            found += _node_requirement(requirement, f"{path}.{kind}[{index}]", labels=kind == "matchExpressions")
    return found


def _node_requirement(requirement: Object, path: str, *, labels: bool) -> list[Cause]:
    operator, values = requirement.get("operator") or "", requirement.get("values") or ()
    found: list[Cause] = []
    if operator not in _NODE_OPERATORS:
        found.append(causes.invalid(f"{path}.operator", operator, "not a valid selector operator"))
    elif operator in ("In", "NotIn") and not values:
        found.append(causes.required(f"{path}.values", "must be specified when `operator` is 'In' or 'NotIn'"))
    elif operator in ("Exists", "DoesNotExist") and values:
        says = "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
        found.append(causes.forbidden(f"{path}.values", says))
    elif operator in ("Gt", "Lt") and len(values) != 1:
        says = "must be specified single value when `operator` is 'Lt' or 'Gt'"
        found.append(causes.required(f"{path}.values", says))
    key = requirement.get("key") or ""
    if labels:
        return found + causes.invalid_each(f"{path}.key", key, names.qualified(key))
    if key != "metadata.name":
        found.append(causes.invalid(f"{path}.key", key, "not a valid field selector key"))
    return found


def _pod_affinity(affinity: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for index, term in enumerate(affinity.get(_REQUIRED) or ()):
        found += _pod_term(term, f"{path}.{_REQUIRED}[{index}]")
    for index, term in enumerate(affinity.get(_PREFERRED) or ()):
        at = f"{path}.{_PREFERRED}[{index}]"
        found += _weight(term, at) + _pod_term(term.get("podAffinityTerm") or {}, f"{at}.podAffinityTerm")
    return found


def _pod_term(term: Object, path: str) -> list[Cause]:
    found = selectors.validate_selector(term.get("labelSelector"), f"{path}.labelSelector")
    found += selectors.validate_selector(term.get("namespaceSelector"), f"{path}.namespaceSelector")
    for index, namespace in enumerate(term.get("namespaces") or ()):
        found += causes.invalid_each(f"{path}.namespaces[{index}]", namespace, names.dns_label(namespace))
    return found + _topology_key(term, path)


def _weight(term: Object, path: str) -> list[Cause]:
    weight = term.get("weight") or 0
    return [] if 1 <= weight <= 100 else [causes.invalid(f"{path}.weight", weight, "must be in the range 1-100")]


def _topology_key(term: Object, path: str) -> list[Cause]:
    key = term.get("topologyKey") or ""
    if not key:
        return [causes.required(f"{path}.topologyKey", "can not be empty")]
    return causes.invalid_each(f"{path}.topologyKey", key, names.qualified(key))


def _spread(constraints: Any, field: str) -> list[Cause]:
    found: list[Cause] = []
    seen: set[tuple[str, str]] = set()
    for index, constraint in enumerate(constraints):
        path = f"{field}[{index}]"
        skew, action = constraint.get("maxSkew") or 0, constraint.get("whenUnsatisfiable") or ""
        if skew <= 0:
            found.append(causes.invalid(f"{path}.maxSkew", skew, "must be greater than zero"))
        found += _topology_key(constraint, path)
        found += _spread_action(action, f"{path}.whenUnsatisfiable")
        pair = (constraint.get("topologyKey") or "", action)
        if pair in seen:
            found.append(causes.duplicate(f"{path}.{{topologyKey, whenUnsatisfiable}}", f"{{{pair[0]}, {pair[1]}}}"))
        seen.add(pair)
        found += selectors.validate_selector(constraint.get("labelSelector"), f"{path}.labelSelector")
    return found


def _spread_action(action: str, field: str) -> list[Cause]:
    return [] if action in _SPREAD_ACTIONS else [causes.unsupported(field, action, _SPREAD_ACTIONS)]
