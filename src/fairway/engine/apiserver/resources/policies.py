"""PodDisruptionBudgets and HorizontalPodAutoscalers: how many pods there must be, and may be."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, selectors
from fairway.engine.apiserver.resources.defaulting import child, fill, fill_numbers
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    bump_generation,
    keep_status,
    name_of,
)
from fairway.engine.apiserver.resources.workloads import validate_at_most_all, validate_count_or_percent

NOT_AVAILABLE = "N/A"
_CPU = [{"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}}}]
_BY_FOUR = {"type": "Pods", "value": 4, "periodSeconds": 15}
_BY_ALL = {"type": "Percent", "value": 100, "periodSeconds": 15}
_METRICS_SHOWN_MAX = 3


def new_budget(budget: Object) -> None:
    """The counts that are required are there from the start."""
    budget["status"] = dict.fromkeys(("disruptionsAllowed", "currentHealthy", "desiredHealthy", "expectedPods"), 0)
    budget["metadata"]["generation"] = 1


def validate_budget(new: Object, old: Object | None) -> list[Cause]:
    """policy validation: one of the two numbers, and a selector."""
    spec = new.get("spec") or {}
    least, most = spec.get("minAvailable"), spec.get("maxUnavailable")
    found: list[Cause] = []
    if least is not None and most is not None:
        shown = {"minAvailable": least, "maxUnavailable": most}
        found.append(causes.invalid("spec", shown, "minAvailable and maxUnavailable cannot be both set"))
    for key, value in (("minAvailable", least), ("maxUnavailable", most)):
        found += validate_count_or_percent(value, f"spec.{key}") + validate_at_most_all(value, f"spec.{key}")
    return found + selectors.validate_selector(spec.get("selector"), "spec.selector")


def budget_row(budget: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = budget.get("spec") or {}, budget.get("status") or {}
    limits = [spec.get(key) for key in ("minAvailable", "maxUnavailable")]
    shown = [NOT_AVAILABLE if limit is None else str(limit) for limit in limits]
    return [name_of(budget), *shown, status.get("disruptionsAllowed") or 0, age_of(budget, now)]


def default_autoscaler(autoscaler: Object) -> None:
    """autoscaling/v2 SetDefaults_HorizontalPodAutoscaler."""
    spec = child(autoscaler, "spec")
    fill_numbers(spec, {"minReplicas": 1})
    if not spec.get("metrics"):
        spec["metrics"] = [{**_CPU[0]}]
    if spec.get("behavior") is not None:
        up, down = child(spec["behavior"], "scaleUp"), child(spec["behavior"], "scaleDown")
        fill_numbers(up, {"stabilizationWindowSeconds": 0})
        for rules, policies in ((up, (_BY_FOUR, _BY_ALL)), (down, (_BY_ALL,))):
            fill(rules, "selectPolicy", "Max")
            if not rules.get("policies"):
                rules["policies"] = [{**policy} for policy in policies]


def new_autoscaler(autoscaler: Object) -> None:
    """The counts that are required are there from the start."""
    autoscaler["status"] = {"desiredReplicas": 0, "currentMetrics": None}


def validate_autoscaler(new: Object, old: Object | None) -> list[Cause]:
    """autoscaling validation."""
    spec = new.get("spec") or {}
    least, most = spec.get("minReplicas"), spec.get("maxReplicas") or 0
    found: list[Cause] = []
    if least is not None and least < 1:
        found.append(causes.invalid("spec.minReplicas", least, "must be greater than or equal to 1"))
    if most < 1:
        found.append(causes.invalid("spec.maxReplicas", most, "must be greater than 0"))
    if least is not None and most < least:
        found.append(causes.invalid("spec.maxReplicas", most, "must be greater than or equal to `minReplicas`"))
    target = spec.get("scaleTargetRef") or {}
    return found + [causes.required(f"spec.scaleTargetRef.{key}") for key in ("kind", "name") if not target.get(key)]


def autoscaler_row(autoscaler: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec, status = autoscaler.get("spec") or {}, autoscaler.get("status") or {}
    target = spec.get("scaleTargetRef") or {}
    least = spec.get("minReplicas")
    return [
        name_of(autoscaler),
        f"{target.get('kind')}/{target.get('name')}",
        _metrics(spec.get("metrics") or (), status.get("currentMetrics") or ()),
        "<unset>" if least is None else str(least),
        spec.get("maxReplicas") or 0,
        status.get("currentReplicas") or 0,
        age_of(autoscaler, now),
    ]


def _metrics(wanted: list[Object] | tuple[()], current: list[Object] | tuple[()]) -> str:
    if not wanted:
        return "<none>"
    shown = [_metric(metric, current[index] if index < len(current) else {}) for index, metric in enumerate(wanted)]
    more = f" + {len(shown) - 2} more..." if len(shown) > _METRICS_SHOWN_MAX - 1 else ""
    return ", ".join(shown[: _METRICS_SHOWN_MAX - 1]) + more


def _metric(metric: Object, current: Object) -> str:
    source = (metric.get("type") or "")[:1].lower() + (metric.get("type") or "")[1:]
    inner = metric.get(source) or {}
    seen = (current.get(source) or {}).get("current") or {}
    target = inner.get("target") or {}
    name = f"{inner['name']}: " if inner.get("name") else ""
    if target.get("averageUtilization") is not None:
        now = f"{seen['averageUtilization']}%" if seen.get("averageUtilization") is not None else "<unknown>"
        return f"{name}{now}/{target['averageUtilization']}%"
    key = "averageValue" if target.get("averageValue") is not None else "value"
    return f"{name}{seen.get(key, '<unknown>')}/{target.get(key, '<auto>')}"


POD_DISRUPTION_BUDGETS = Kind(
    group="policy",
    version="v1",
    kind="PodDisruptionBudget",
    plural="poddisruptionbudgets",
    singular="poddisruptionbudget",
    namespaced=True,
    list_kind="PodDisruptionBudgetList",
    short_names=("pdb",),
    subresources=("status",),
    columns=(
        NAME,
        Column("Min Available", "string", "The minimum number of pods that must be available."),
        Column("Max Unavailable", "string", "The maximum number of pods that may be unavailable."),
        Column("Allowed Disruptions", "integer", "How many pods may be disrupted at this time."),
        AGE,
    ),
    row=budget_row,
    prepare_create=new_budget,
    prepare_update=bump_generation,
    validate=validate_budget,
)
HORIZONTAL_POD_AUTOSCALERS = Kind(
    group="autoscaling",
    version="v2",
    kind="HorizontalPodAutoscaler",
    plural="horizontalpodautoscalers",
    singular="horizontalpodautoscaler",
    namespaced=True,
    list_kind="HorizontalPodAutoscalerList",
    short_names=("hpa",),
    categories=("all",),
    subresources=("status",),
    columns=(
        NAME,
        Column("Reference", "string", "What is scaled."),
        Column("Targets", "string", "Current and wanted values of the metrics."),
        Column("MinPods", "string", "The fewest pods."),
        Column("MaxPods", "string", "The most pods."),
        Column("Replicas", "string", "The pods that there are."),
        AGE,
    ),
    row=autoscaler_row,
    default=default_autoscaler,
    prepare_create=new_autoscaler,
    prepare_update=keep_status,
    validate=validate_autoscaler,
)
