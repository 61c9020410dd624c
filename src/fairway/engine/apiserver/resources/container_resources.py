"""What is wrong with resource requests and limits."""

from decimal import Decimal

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.kind import Cause, Object
from fairway.kube.api import quantities

STANDARD = ("cpu", "memory", "ephemeral-storage")


def validate_resources(resources: Object, path: str) -> list[Cause]:
    """core/v1 ResourceRequirements of a container."""
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    found = validate_list(limits, f"{path}.limits") + validate_list(requests, f"{path}.requests")
    if found:
        return found
    for name, request in requests.items():
        found += _within(name, request, limits.get(name), f"{path}.requests")
    return found


def validate_list(resources: Object, path: str) -> list[Cause]:
    """Names and amounts."""
    found: list[Cause] = []
    for name, amount in resources.items():
        found += _name(name, path) + validate_quantity(amount, f"{path}[{name}]")
        if not found and "/" in name and quantities.parse(amount) % 1:
            found.append(causes.invalid(f"{path}[{name}]", str(amount), "must be an integer"))
    return found


def validate_quantity(amount: str | int | float, field: str) -> list[Cause]:
    """A resource quantity that is not negative."""
    try:
        value = quantities.parse(amount)
    except ValueError as error:
        return [causes.invalid(field, str(amount), str(error))]
    return [causes.invalid(field, str(amount), causes.NOT_NEGATIVE)] if value < Decimal(0) else []


def _name(name: str, path: str) -> list[Cause]:
    found = causes.invalid_each(path, name, names.qualified(name))
    if "/" not in name and name not in STANDARD and not name.startswith("hugepages-"):
        found.append(causes.invalid(f"{path}[{name}]", name, "must be a standard resource for containers"))
    return found


def _within(name: str, request: object, limit: object, field: str) -> list[Cause]:
    if limit is None:
        return []
    asked, most = quantities.parse(str(request)), quantities.parse(str(limit))
    if "/" in name and asked != most:
        return [causes.invalid(field, str(request), f"must be equal to {name} limit of {limit}")]
    if asked > most:
        return [causes.invalid(field, str(request), f"must be less than or equal to {name} limit of {limit}")]
    return []
