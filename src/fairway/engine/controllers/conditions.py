"""Conditions as values: find one, set one, drop one."""

from collections.abc import Sequence

from msgspec.structs import replace

from fairway.kube.api.meta import Condition

Conditions = tuple[Condition, ...]


def find(conditions: Sequence[Condition], type: str) -> Condition | None:
    """The condition of that type, if it is there."""
    return next((condition for condition in conditions if condition.type == type), None)


def put(conditions: Conditions, new: Condition) -> Conditions:
    """With `new` in the place of its type.

    One that says the same (status and reason) leaves everything as it was; one whose status is the same keeps the time
    of its last transition.
    """
    current = find(conditions, new.type)
    if current is None:
        return (*conditions, new)
    if (current.status, current.reason) == (new.status, new.reason):
        return conditions
    if current.status == new.status:
        new = replace(new, last_transition_time=current.last_transition_time)
    return (*without(conditions, new.type), new)


def without(conditions: Conditions, type: str) -> Conditions:
    """All but those of that type."""
    return tuple(condition for condition in conditions if condition.type != type)
