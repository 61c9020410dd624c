"""Roles and bindings, compiled so that a decision costs two lookups; kept up to date by watching the store."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fairway.engine.apiserver.authentication import User
from fairway.engine.apiserver.authentication.users import account_name
from fairway.engine.apiserver.authorization.attributes import Attributes
from fairway.engine.apiserver.authorization.rules import Rule, from_raw
from fairway.engine.apiserver.store import DELETED, Event, Store

GROUP = "rbac.authorization.k8s.io"
CLUSTER_ROLES, ROLES = f"{GROUP}/clusterroles", f"{GROUP}/roles"
CLUSTER_BINDINGS, BINDINGS = f"{GROUP}/clusterrolebindings", f"{GROUP}/rolebindings"
_CACHE_MAX = 4096

Place = tuple[str, str]
"""Namespace (empty for the whole cluster) and name."""


class Binding(msgspec.Struct, frozen=True):
    """Which role, and a word for each subject: `User "alice"`. `role` has an empty namespace for a ClusterRole."""

    place: Place
    role: Place
    subjects: Mapping[str, str]

    def reason(self, subject: str) -> str:
        """Why somebody may, in upstream's words."""
        namespace, name = self.place
        own = f'RoleBinding "{name}/{namespace}"' if namespace else f'ClusterRoleBinding "{name}"'
        kind = "Role" if self.role[0] else "ClusterRole"
        return f'RBAC: allowed by {own} of {kind} "{self.role[1]}" to {self.subjects[subject]}'


class Grant(msgspec.Struct, frozen=True):
    """Rules that somebody has, by which binding and as which subject."""

    binding: Binding
    subject: str
    rules: tuple[Rule, ...]


class Permissions:
    """What one user may in one namespace (an empty one: what counts everywhere)."""

    def __init__(self, grants: tuple[Grant, ...], missing: tuple[str, ...]) -> None:
        self.grants = grants
        self.missing = missing
        """What is wrong with bindings whose role does not exist."""
        self._known: dict[tuple[str, str, str, str], frozenset[str] | None] = {}

    def allows(self, verb: str, group: str, resource: str, subresource: str, name: str) -> bool:
        key = (verb, group, resource, subresource)
        try:
            names = self._known[key]
        except KeyError:
            if len(self._known) >= _CACHE_MAX:
                self._known.clear()
            names = self._known[key] = self._names(key)
        return names is None or name in names

    def allows_url(self, verb: str, path: str) -> bool:
        return any(rule.allows_url(verb, path) for grant in self.grants for rule in grant.rules)

    def reason(self, attributes: Attributes) -> str:
        """Which binding allows this; an empty string when none does."""
        for grant in self.grants:
            if any(_allows(rule, attributes) for rule in grant.rules):
                return grant.binding.reason(grant.subject)
        return ""

    def rules(self) -> Iterator[Rule]:
        return (rule for grant in self.grants for rule in grant.rules)

    def _names(self, key: tuple[str, str, str, str]) -> frozenset[str] | None:
        """The names for which this is allowed; None for all."""
        found: set[str] = set()
        for rule in self.rules():
            if rule.speaks_of(*key):
                if not rule.names:
                    return None
                found |= set(rule.names)
        return frozenset(found)


class Rbac:
    """All roles and bindings. `put_*` and `remove_*` take effect at once."""

    def __init__(self) -> None:
        self._roles: dict[Place, tuple[Rule, ...]] = {}
        self._bindings: dict[Place, Binding] = {}
        self._by_subject: dict[str, dict[Place, Binding]] = {}
        self._permissions: dict[tuple[User, str], Permissions] = {}

    def follow(self, store: Store) -> None:
        """Take what the store holds, and every change from now on."""
        for resource in (CLUSTER_ROLES, ROLES, CLUSTER_BINDINGS, BINDINGS):
            for entry in store.select(resource):
                self._put(resource, entry.key.namespace, entry.key.name, entry.object())
            store.subscribe(resource, self._changed)

    def permissions(self, user: User, namespace: str) -> Permissions:
        """Everything that the user's bindings give, cluster-wide ones first."""
        key = (user, namespace)
        known = self._permissions.get(key)
        if known is None:
            if len(self._permissions) >= _CACHE_MAX:
                self._permissions.clear()
            known = self._permissions[key] = self._collect(user, namespace)
        return known

    def role(self, place: Place) -> tuple[Rule, ...] | None:
        """The rules of a Role, or of a ClusterRole (without a namespace)."""
        return self._roles.get(place)

    def put_role(self, place: Place, rules: Iterable[Mapping[str, Any]] | None) -> None:
        self._roles[place] = from_raw(rules)
        self._permissions.clear()

    def remove_role(self, place: Place) -> None:
        self._roles.pop(place, None)
        self._permissions.clear()

    def put_binding(self, place: Place, raw: Mapping[str, Any]) -> None:
        self.remove_binding(place)
        binding = self._bindings[place] = binding_from(place, raw)
        for subject in binding.subjects:
            self._by_subject.setdefault(subject, {})[place] = binding

    def remove_binding(self, place: Place) -> None:
        old = self._bindings.pop(place, None)
        for subject in old.subjects if old is not None else ():
            places = self._by_subject[subject]
            del places[place]
            if not places:
                del self._by_subject[subject]
        self._permissions.clear()

    def _changed(self, event: Event) -> None:
        key = event.key
        if event.type != DELETED:
            self._put(key.resource, key.namespace, key.name, event.entry.object())
        elif key.resource in (CLUSTER_ROLES, ROLES):
            self.remove_role((key.namespace, key.name))
        else:
            self.remove_binding((key.namespace, key.name))

    def _put(self, resource: str, namespace: str, name: str, raw: Mapping[str, Any]) -> None:
        if resource in (CLUSTER_ROLES, ROLES):
            self.put_role((namespace, name), raw.get("rules"))
        else:
            self.put_binding((namespace, name), raw)

    def _collect(self, user: User, namespace: str) -> Permissions:
        found: dict[Place, tuple[Binding, str]] = {}
        for subject in (f"user:{user.name}", *(f"group:{group}" for group in user.groups)):
            for place, binding in self._by_subject.get(subject, {}).items():
                if place[0] in ("", namespace):
                    found.setdefault(place, (binding, subject))
        grants, missing = [], []
        for place in sorted(found):
            binding, subject = found[place]
            rules = self._roles.get(binding.role)
            if rules is None:
                missing.append(not_found(binding.role))
            else:
                grants.append(Grant(binding, subject, rules))
        return Permissions(tuple(grants), tuple(dict.fromkeys(missing)))


def binding_from(place: Place, raw: Mapping[str, Any]) -> Binding:
    """A (Cluster)RoleBinding as the index keeps it."""
    reference = raw.get("roleRef") or {}
    namespace = place[0] if reference.get("kind") == "Role" else ""
    subjects = dict(_subject(subject, place[0]) for subject in raw.get("subjects") or ())
    return Binding(place, (namespace, str(reference.get("name") or "")), subjects)


def not_found(role: Place) -> str:
    """What is said about a role that does not exist."""
    kind = "role" if role[0] else "clusterrole"
    return f'{kind}.rbac.authorization.k8s.io "{role[1]}" not found'


def _subject(subject: Mapping[str, Any], namespace: str) -> tuple[str, str]:
    kind, name = subject.get("kind"), str(subject.get("name") or "")
    if kind == "ServiceAccount":
        own = str(subject.get("namespace") or namespace)
        return f"user:{account_name(own, name)}", f'ServiceAccount "{name}/{own}"'
    if kind == "Group":
        return f"group:{name}", f'Group "{name}"'
    return f"user:{name}", f'User "{name}"'


def _allows(rule: Rule, wanted: Attributes) -> bool:
    if not wanted.resource:
        return rule.allows_url(wanted.verb, wanted.path)
    named = not rule.names or wanted.name in rule.names
    return named and rule.speaks_of(wanted.verb, wanted.group, wanted.resource, wanted.subresource)
