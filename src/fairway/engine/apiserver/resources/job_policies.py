"""What is wrong with the policies of a Job: failures, indexes, success."""

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.kind import Cause, Object

_ACTIONS = ("Count", "FailIndex", "FailJob", "Ignore")
_OPERATORS = ("In", "NotIn")
_RULES_MAX, _VALUES_MAX = 20, 255


def validate_policies(spec: Object, field: str) -> list[Cause]:
    """batch validation of what ends a job, and of its indexes."""
    return [
        *_failure(spec, field),
        *_replacement(spec, field),
        *_indexes(spec, field),
        *_success(spec, field),
    ]


def validate_elastic(new: Object, old: Object) -> list[Cause]:
    """An Indexed job may grow and shrink when as many pods run as are wanted (KEP-3715)."""
    if new.get("completions") == old.get("completions") or new.get("completions") == new.get("parallelism"):
        return []
    says = "can only be modified in tandem with spec.parallelism"
    return [causes.invalid("spec.completions", new.get("completions"), says)]


def _failure(spec: Object, field: str) -> list[Cause]:
    policy = spec.get("podFailurePolicy")
    if policy is None:
        return []
    found: list[Cause] = []
    restart = ((spec.get("template") or {}).get("spec") or {}).get("restartPolicy")
    if restart != "Never":
        path, says = (
            f"{field}.template.spec.restartPolicy",
            'only "Never" is supported when podFailurePolicy is specified',
        )
        found.append(causes.invalid(path, restart, says))
    rules = policy.get("rules") or ()
    if len(rules) > _RULES_MAX:
        found.append(causes.too_many(f"{field}.podFailurePolicy.rules", len(rules), _RULES_MAX))
    for index, rule in enumerate(rules):
        found += _rule(rule, spec, f"{field}.podFailurePolicy.rules[{index}]")
    return found


def _rule(rule: Object, spec: Object, path: str) -> list[Cause]:
    action, codes, conditions = rule.get("action"), rule.get("onExitCodes"), rule.get("onPodConditions") or ()
    found: list[Cause] = []
    if action == "FailIndex" and spec.get("backoffLimitPerIndex") is None:
        found.append(causes.invalid(f"{path}.action", action, "requires the backoffLimitPerIndex to be set"))
    else:
        found += causes.one_of(f"{path}.action", action, _ACTIONS)
    if codes is not None:
        found += _exit_codes(codes, spec, f"{path}.onExitCodes")
    if codes is not None and conditions:
        found.append(causes.invalid(path, "", "specifying both OnExitCodes and OnPodConditions is not supported"))
    if codes is None and not conditions:
        found.append(causes.invalid(path, "", "specifying one of OnExitCodes and OnPodConditions is required"))
    for index, condition in enumerate(conditions):
        if not condition.get("type"):
            found.append(causes.required(f"{path}.onPodConditions[{index}].type"))
    return found


def _exit_codes(codes: Object, spec: Object, path: str) -> list[Cause]:
    operator, values = codes.get("operator"), codes.get("values") or []
    found = causes.one_of(f"{path}.operator", operator, _OPERATORS)
    if not values:
        found.append(causes.invalid(f"{path}.values", values, "at least one value is required"))
    elif len(values) > _VALUES_MAX:
        found.append(causes.too_many(f"{path}.values", len(values), _VALUES_MAX))
    if operator == "In" and 0 in values:
        index = values.index(0)
        found.append(causes.invalid(f"{path}.values[{index}]", 0, "must not be 0 for the In operator"))
    if values != sorted(values):
        found.append(causes.invalid(f"{path}.values", values, "must be ordered"))
    found += [
        causes.duplicate(f"{path}.values[{index}]", value)
        for index, value in enumerate(values)
        if value in values[:index]
    ]
    pod = (spec.get("template") or {}).get("spec") or {}
    names = {item.get("name") for item in (*(pod.get("containers") or ()), *(pod.get("initContainers") or ()))}
    if codes.get("containerName") and codes["containerName"] not in names:
        says = "must be one of the container or initContainer names in the pod template"
        found.append(causes.invalid(f"{path}.containerName", codes["containerName"], says))
    return found


def _replacement(spec: Object, field: str) -> list[Cause]:
    allowed = ("Failed",) if spec.get("podFailurePolicy") else ("Failed", "TerminatingOrFailed")
    return causes.one_of(f"{field}.podReplacementPolicy", spec.get("podReplacementPolicy"), allowed, needed=False)


def _indexes(spec: Object, field: str) -> list[Cause]:
    found: list[Cause] = []
    per_index, most = spec.get("backoffLimitPerIndex"), spec.get("maxFailedIndexes")
    if spec.get("completionMode") != "Indexed":
        for key, value in (("backoffLimitPerIndex", per_index), ("maxFailedIndexes", most)):
            if value is not None:
                found.append(causes.invalid(f"{field}.{key}", value, "requires indexed completion mode"))
        return found
    if most is not None and per_index is None:
        found.append(causes.required(f"{field}.backoffLimitPerIndex", "when maxFailedIndexes is specified"))
    if most is not None and most > (spec.get("completions") or 0):
        says = "must be less than or equal to completions"
        found.append(causes.invalid(f"{field}.maxFailedIndexes", most, says))
    return found


def _success(spec: Object, field: str) -> list[Cause]:
    policy, path = spec.get("successPolicy"), f"{field}.successPolicy"
    if policy is None:
        return []
    if spec.get("completionMode") != "Indexed":
        return [causes.invalid(path, policy, "requires indexed completion mode")]
    rules = policy.get("rules") or ()
    if not rules:
        return [causes.required(f"{path}.rules", "at least one rules must be specified in the successPolicy")]
    found: list[Cause] = []
    for index, rule in enumerate(rules):
        if rule.get("succeededCount") is None and rule.get("succeededIndexes") is None:
            says = "at least one of succeededCount or succeededIndexes must be specified"
            found.append(causes.required(f"{path}.rules[{index}]", says))
        count = rule.get("succeededCount")
        if count is not None and count > (spec.get("completions") or 0):
            says = f"must be less than or equal to {spec.get('completions')} (the number of specified completions)"
            found.append(causes.invalid(f"{path}.rules[{index}].succeededCount", count, says))
    return found
