"""What is wrong with probes and lifecycle hooks."""

from fairway.engine.apiserver.resources import causes, names
from fairway.engine.apiserver.resources.kind import Cause, Object

_COUNTS = ("initialDelaySeconds", "timeoutSeconds", "periodSeconds", "successThreshold", "failureThreshold")
_ACTIONS = ("exec", "httpGet", "tcpSocket", "grpc", "sleep")


def validate_probes(container: Object, path: str) -> list[Cause]:
    """The three probes of a container."""
    found: list[Cause] = []
    for name in ("livenessProbe", "readinessProbe", "startupProbe"):
        if container.get(name) is not None:
            found += _probe(container[name], name, f"{path}.{name}")
    return found


def validate_lifecycle(lifecycle: Object | None, path: str, grace_seconds: int) -> list[Cause]:
    """postStart and preStop of a container."""
    found: list[Cause] = []
    for hook in ("postStart", "preStop"):
        action = (lifecycle or {}).get(hook)
        if action is not None:
            found += _action(action, f"{path}.{hook}", grace_seconds)
    return found


def _probe(probe: Object, name: str, path: str) -> list[Cause]:
    found = _action(probe, path, grace_seconds=0)
    for count in _COUNTS:
        found += causes.negative(f"{path}.{count}", probe.get(count))
    if name != "readinessProbe" and probe.get("successThreshold", 1) != 1:
        found.append(causes.invalid(f"{path}.successThreshold", probe["successThreshold"], "must be 1"))
    grace = probe.get("terminationGracePeriodSeconds")
    if grace is not None and name == "readinessProbe":
        says = "must not be set for readinessProbes"
        found.append(causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, says))
    elif grace is not None and grace <= 0:
        found.append(causes.invalid(f"{path}.terminationGracePeriodSeconds", grace, "must be greater than 0"))
    return found


def _action(action: Object, path: str, grace_seconds: int) -> list[Cause]:
    given = [name for name in _ACTIONS if action.get(name) is not None]
    if not given:
        return [causes.required(path, "must specify a handler type")]
    found = [causes.forbidden(f"{path}.{name}", "may not specify more than 1 handler type") for name in given[1:]]
    for name in given[:1]:
        found += _handler(name, action[name], f"{path}.{name}", grace_seconds)
    return found


def _handler(name: str, action: Object, path: str, grace_seconds: int) -> list[Cause]:
    if name == "exec":
        return [] if action.get("command") else [causes.required(f"{path}.command")]
    if name == "sleep":
        return _sleep(action.get("seconds") or 0, path, grace_seconds)
    found = validate_port(action.get("port"), f"{path}.port")
    return found + (_http(action, path) if name == "httpGet" else [])


def _sleep(seconds: int, path: str, grace_seconds: int) -> list[Cause]:
    if 0 <= seconds <= grace_seconds:
        return []
    says = f"must be non-negative and less than terminationGracePeriodSeconds ({grace_seconds})"
    return [causes.invalid(path, seconds, says)]


def _http(action: Object, path: str) -> list[Cause]:
    found = [] if action.get("path") else [causes.required(f"{path}.path")]
    found += causes.one_of(f"{path}.scheme", action.get("scheme"), ("HTTP", "HTTPS"))
    for index, header in enumerate(action.get("httpHeaders") or ()):
        name = header.get("name") or ""
        found += causes.invalid_each(f"{path}.httpHeaders[{index}].name", name, names.header_name(name))
    return found


def validate_port(port: int | str | None, field: str) -> list[Cause]:
    """A port by number or by name."""
    if isinstance(port, str):
        return causes.invalid_each(field, port, names.port_name(port))
    number = port or 0
    return causes.invalid_each(field, number, names.port_number(number))
