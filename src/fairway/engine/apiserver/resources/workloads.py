"""What Deployments, ReplicaSets, StatefulSets, DaemonSets and Jobs have in common."""

import re

from fairway.engine.apiserver.resources import causes, selectors
from fairway.engine.apiserver.resources.kind import Cause, Column, Object
from fairway.engine.apiserver.resources.pod_defaults import default_pod_spec

NONE = "<none>"
WIDE_COLUMNS = (
    Column("Containers", "string", "Names of each container in the template.", priority=1),
    Column("Images", "string", "Images referenced by each container in the template.", priority=1),
    Column("Selector", "string", "The label query over pods that belong here.", priority=1),
)
_PERCENT = re.compile(r"\d+%")
_PERCENT_SAYS = (
    "a valid percent string must be a numeric string followed by an ending '%' "
    "(e.g. '1%',  or '93%', regex used for validation is '[0-9]+%')"
)


def wide_cells(spec: Object) -> list[object]:
    """The cells of WIDE_COLUMNS."""
    containers = ((spec.get("template") or {}).get("spec") or {}).get("containers") or ()
    return [
        ",".join(container.get("name") or "" for container in containers),
        ",".join(container.get("image") or "" for container in containers),
        selectors.selector_text(spec.get("selector")),
    ]


def default_template(spec: Object) -> None:
    """Fill the pod template of a workload."""
    template = spec.get("template")
    if template is not None and template.get("spec") is not None:
        default_pod_spec(template["spec"])


def validate_selector(spec: Object, owner: str) -> list[Cause]:
    """A workload's selector: there, not empty, and picking the pods of its own template."""
    selector = spec.get("selector")
    if selector is None:
        return [causes.required("spec.selector")]
    found = selectors.validate_selector(selector, "spec.selector")
    if selectors.empty(selector):
        return [*found, causes.invalid("spec.selector", selector, f"empty selector is invalid for {owner}")]
    if found:
        return found
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if selectors.matches(selector, labels):
        return []
    says = "`selector` does not match template `labels`"
    return [causes.invalid("spec.template.metadata.labels", labels, says)]


def validate_counts(spec: Object, *names: str) -> list[Cause]:
    """Counts are not negative."""
    found: list[Cause] = []
    for name in names:
        found += causes.negative(f"spec.{name}", spec.get(name))
    return found


def validate_count_or_percent(value: int | str | None, field: str) -> list[Cause]:
    """A number that is not negative, or a percentage of at most 100."""
    if isinstance(value, str):
        if not _PERCENT.fullmatch(value):
            return [causes.invalid(field, value, _PERCENT_SAYS)]
        return []
    return causes.negative(field, value)


def validate_at_most_all(value: int | str | None, field: str) -> list[Cause]:
    """A percentage that is no more than everything."""
    if isinstance(value, str) and _PERCENT.fullmatch(value) and int(value[:-1]) > 100:
        return [causes.invalid(field, value, "must not be greater than 100%")]
    return []


def zero(value: int | str | None) -> bool:
    """Whether a count or percentage is none at all."""
    return value in (None, 0) or (isinstance(value, str) and value.strip("0") == "%")
