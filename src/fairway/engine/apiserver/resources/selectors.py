"""Labels and label selectors inside specifications: what is wrong with them, and how a table shows them."""

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.kind import Cause, Object
from fairway.kube.api.meta import LabelSelector
from fairway.kube.api.noun import decode
from fairway.kube.api.selectors import from_labels, from_object

OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")
NONE = "<none>"
_COUNTED_SAYS = {
    True: "must be specified when `operator` is 'In' or 'NotIn'",
    False: "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
}


def validate_labels(labels: Object | None, field: str) -> list[Cause]:
    """Keys are qualified names, values label values."""
    found: list[Cause] = []
    for key, value in (labels or {}).items():
        found += causes.invalid_each(field, key, names.qualified(key))
        found += causes.invalid_each(field, value, names.label_value(value or ""))
    return found


def validate_selector(selector: Object | None, field: str) -> list[Cause]:
    """A metav1.LabelSelector."""
    selector = selector or {}
    found = validate_labels(selector.get("matchLabels"), f"{field}.matchLabels")
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        found += _expression(expression, f"{field}.matchExpressions[{index}]")
    return found


def matches(selector: Object | None, labels: Object | None) -> bool:
    """Whether a valid selector picks these labels; an absent one picks nothing."""
    return selector is not None and from_object(decode(LabelSelector, selector)).matches(labels or {})


def empty(selector: Object | None) -> bool:
    """Whether a selector would pick everything."""
    return not (selector or {}).get("matchLabels") and not (selector or {}).get("matchExpressions")


def selector_text(selector: Object | None) -> str:
    """A selector as tables show it."""
    return str(from_object(decode(LabelSelector, selector))) or NONE if selector else NONE


def labels_text(labels: Object | None) -> str:
    """Labels as tables show them."""
    return str(from_labels(labels)) or NONE if labels else NONE


def _expression(expression: Object, field: str) -> list[Cause]:
    operator, values = expression.get("operator") or "", expression.get("values") or ()
    found: list[Cause] = []
    if operator not in OPERATORS:
        found.append(causes.invalid(f"{field}.operator", operator, "not a valid selector operator"))
    elif operator in ("In", "NotIn") and not values:
        found.append(causes.required(f"{field}.values", _COUNTED_SAYS[True]))
    elif operator in ("Exists", "DoesNotExist") and values:
        found.append(causes.forbidden(f"{field}.values", _COUNTED_SAYS[False]))
    key = expression.get("key") or ""
    found += causes.invalid_each(f"{field}.key", key, names.qualified(key))
    for index, value in enumerate(values):
        found += causes.invalid_each(f"{field}.values[{index}]", value, names.label_value(value))
    return found
