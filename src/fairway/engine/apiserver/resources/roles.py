"""Roles and who has them."""

from datetime import datetime

from fairway.engine.apiserver.resources import causes, names, selectors
from fairway.engine.apiserver.resources.defaulting import fill
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    keep_nothing,
    name_of,
    nothing,
)

GROUP = "rbac.authorization.k8s.io"
SUBJECTS = ("Group", "ServiceAccount", "User")


def default_binding(binding: Object) -> None:
    """rbac/v1: the role and its users are of the RBAC group unless they say otherwise."""
    if binding.get("roleRef"):
        fill(binding["roleRef"], "apiGroup", GROUP)
    for subject in binding.get("subjects") or ():
        if subject.get("kind") != "ServiceAccount":
            fill(subject, "apiGroup", GROUP)


def validate_role(new: Object, old: Object | None) -> list[Cause]:
    """Rules inside a namespace name resources."""
    return _rules(new, namespaced=True)


def validate_cluster_role(new: Object, old: Object | None) -> list[Cause]:
    """Rules of the whole cluster may also name URLs."""
    found = _rules(new, namespaced=False)
    for index, selector in enumerate((new.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()):
        found += selectors.validate_selector(selector, f"aggregationRule.clusterRoleSelectors[{index}]")
    return found


def validate_binding(new: Object, old: Object | None) -> list[Cause]:
    """A binding names a role, which never changes, and subjects."""
    reference = new.get("roleRef") or {}
    found = [] if reference.get("name") else [causes.required("roleRef.name")]
    if reference.get("apiGroup") != GROUP:
        found.append(causes.unsupported("roleRef.apiGroup", reference.get("apiGroup"), (GROUP,)))
    kinds = ("ClusterRole",) if new.get("kind") == "ClusterRoleBinding" else ("Role", "ClusterRole")
    if reference.get("kind") not in kinds:
        found.append(causes.unsupported("roleRef.kind", reference.get("kind"), kinds))
    for index, subject in enumerate(new.get("subjects") or ()):
        found += _subject(subject, f"subjects[{index}]", needs_namespace=len(kinds) == 1)
    if old is not None and old.get("roleRef") != reference:
        found.append(causes.invalid("roleRef", reference, "cannot change roleRef"))
    return found


def role_row(role: Object, now: datetime) -> list[object]:
    """One cell per column."""
    return [name_of(role), (role.get("metadata") or {}).get("creationTimestamp")]


def binding_row(binding: Object, now: datetime) -> list[object]:
    """One cell per column."""
    reference = binding.get("roleRef") or {}
    subjects = binding.get("subjects") or ()
    users, groups, accounts = ([item for item in subjects if item.get("kind") == kind] for kind in _ORDER)
    return [
        name_of(binding),
        f"{reference.get('kind')}/{reference.get('name')}",
        age_of(binding, now),
        ", ".join(item.get("name") or "" for item in users),
        ", ".join(item.get("name") or "" for item in groups),
        ", ".join(f"{item.get('namespace') or ''}/{item.get('name')}" for item in accounts),
    ]


_ORDER = ("User", "Group", "ServiceAccount")


def _rules(role: Object, *, namespaced: bool) -> list[Cause]:
    found: list[Cause] = []
    for index, rule in enumerate(role.get("rules") or ()):
        found += _rule(rule, f"rules[{index}]", namespaced=namespaced)
    return found


def _rule(rule: Object, path: str, *, namespaced: bool) -> list[Cause]:
    found: list[Cause] = []
    if not rule.get("verbs"):
        found.append(causes.required(f"{path}.verbs", "verbs must contain at least one value"))
    urls = rule.get("nonResourceURLs") or []
    if not urls:
        return found + [
            causes.required(f"{path}.{key}", f"resource rules must supply at least one {word}")
            for key, word in (("apiGroups", "api group"), ("resources", "resource"))
            if not rule.get(key)
        ]
    if namespaced:
        says = "namespaced rules cannot apply to non-resource URLs"
        return [*found, causes.invalid(f"{path}.nonResourceURLs", urls, says)]
    if rule.get("apiGroups") or rule.get("resources") or rule.get("resourceNames"):
        says = "rules cannot apply to both regular resources and non-resource URLs"
        found.append(causes.invalid(f"{path}.nonResourceURLs", urls, says))
    return found


def _subject(subject: Object, path: str, *, needs_namespace: bool) -> list[Cause]:
    kind, name = subject.get("kind") or "", subject.get("name") or ""
    found = [] if name else [causes.required(f"{path}.name")]
    if kind not in SUBJECTS:
        return [*found, causes.unsupported(f"{path}.kind", kind, _SUBJECT_ORDER)]
    group = subject.get("apiGroup") or ""
    wanted = "" if kind == "ServiceAccount" else GROUP
    if group != wanted:
        found.append(causes.unsupported(f"{path}.apiGroup", group, (wanted,)))
    if kind == "ServiceAccount" and name:
        found += causes.invalid_each(f"{path}.name", name, names.dns_subdomain(name))
        if needs_namespace and not subject.get("namespace"):
            found.append(causes.required(f"{path}.namespace"))
    return found


_SUBJECT_ORDER = ("ServiceAccount", "User", "Group")
_CREATED = Column("Created At", "date", "When the object was created.")
_BINDING_COLUMNS = (
    NAME,
    Column("Role", "string", "The role that is given."),
    AGE,
    Column("Users", "string", "Users in the binding.", priority=1),
    Column("Groups", "string", "Groups in the binding.", priority=1),
    Column("ServiceAccounts", "string", "Service accounts in the binding.", priority=1),
)

ROLES = Kind(
    group=GROUP,
    version="v1",
    kind="Role",
    plural="roles",
    singular="role",
    namespaced=True,
    list_kind="RoleList",
    create_on_update=True,
    columns=(NAME, _CREATED),
    row=role_row,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate_role,
    name_rule=names.path_segment,
)
CLUSTER_ROLES = Kind(
    group=GROUP,
    version="v1",
    kind="ClusterRole",
    plural="clusterroles",
    singular="clusterrole",
    namespaced=False,
    list_kind="ClusterRoleList",
    create_on_update=True,
    columns=(NAME, _CREATED),
    row=role_row,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate_cluster_role,
    name_rule=names.path_segment,
)
ROLE_BINDINGS = Kind(
    group=GROUP,
    version="v1",
    kind="RoleBinding",
    plural="rolebindings",
    singular="rolebinding",
    namespaced=True,
    list_kind="RoleBindingList",
    create_on_update=True,
    columns=_BINDING_COLUMNS,
    row=binding_row,
    default=default_binding,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate_binding,
    name_rule=names.path_segment,
)
CLUSTER_ROLE_BINDINGS = Kind(
    group=GROUP,
    version="v1",
    kind="ClusterRoleBinding",
    plural="clusterrolebindings",
    singular="clusterrolebinding",
    namespaced=False,
    list_kind="ClusterRoleBindingList",
    create_on_update=True,
    columns=_BINDING_COLUMNS,
    row=binding_row,
    default=default_binding,
    prepare_create=nothing,
    prepare_update=keep_nothing,
    validate=validate_binding,
    name_rule=names.path_segment,
)
