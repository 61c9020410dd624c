"""What is wrong with security contexts."""

from fairway.engine.apiserver.resources import causes
from fairway.engine.apiserver.resources.kind import Cause, Object

ID_MAX = 0xFFFFFFFF
_IDS = ("runAsUser", "runAsGroup", "fsGroup")
_SECCOMP = ("Localhost", "RuntimeDefault", "Unconfined")


def validate_container_security(context: Object | None, path: str) -> list[Cause]:
    """core/v1 SecurityContext."""
    context = context or {}
    found = _ids(context, path) + _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    found += causes.one_of(f"{path}.procMount", context.get("procMount"), ("Default", "Unmasked"), needed=False)
    if context.get("allowPrivilegeEscalation") is False:
        if context.get("privileged"):
            says = "cannot set `allowPrivilegeEscalation` to false and `privileged` to true"
            found.append(causes.invalid(path, context, says))
        added = (context.get("capabilities") or {}).get("add") or ()
        if "CAP_SYS_ADMIN" in added:
            says = "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN"
            found.append(causes.invalid(path, context, says))
    return found


def validate_pod_security(context: Object | None, path: str) -> list[Cause]:
    """core/v1 PodSecurityContext."""
    context = context or {}
    found = _ids(context, path) + _seccomp(context.get("seccompProfile"), f"{path}.seccompProfile")
    for index, group in enumerate(context.get("supplementalGroups") or ()):
        found += _id(group, f"{path}.supplementalGroups[{index}]")
    policy = context.get("fsGroupChangePolicy")
    return found + causes.one_of(f"{path}.fsGroupChangePolicy", policy, ("Always", "OnRootMismatch"), needed=False)


def _ids(context: Object, path: str) -> list[Cause]:
    found: list[Cause] = []
    for name in _IDS:
        if context.get(name) is not None:
            found += _id(context[name], f"{path}.{name}")
    return found


def _id(value: int, field: str) -> list[Cause]:
    if 0 <= value <= ID_MAX:
        return []
    return [causes.invalid(field, value, f"must be between 0 and {ID_MAX}, inclusive")]


def _seccomp(profile: Object | None, path: str) -> list[Cause]:
    if profile is None:
        return []
    kind, file = profile.get("type"), profile.get("localhostProfile")
    if kind == "Localhost" and not file:
        return [causes.required(f"{path}.localhostProfile", "must be set when seccomp type is Localhost")]
    if kind != "Localhost" and file is not None:
        says = "can only be set when seccomp type is Localhost"
        return [causes.invalid(f"{path}.localhostProfile", profile, says)]
    return causes.one_of(f"{path}.type", kind, _SECCOMP)
