"""Brings the default roles and bindings up to date at every start, and keeps aggregated ClusterRoles so.

Upstream's reconciliation: what is missing is added, what an administrator added stays, and an object whose annotation
says `rbac.authorization.kubernetes.io/autoupdate: "false"` is left alone.
"""

import asyncio
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any, Protocol

import msgspec

from fairway.engine.apiserver.authorization import policy
from fairway.engine.apiserver.authorization.rules import from_raw, missing
from fairway.engine.apiserver.errors import ApiError
from fairway.engine.apiserver.store import Entry, Event, Key, Store
from fairway.kube.api import selectors
from fairway.kube.api.meta import LabelSelector
from fairway.kube.api.noun import decode
from fairway.toolkit import logs

log = logs.get("apiserver")

_ROLES = f"{policy.GROUP}/clusterroles"
_BINDINGS = f"{policy.GROUP}/clusterrolebindings"

Object = dict[str, Any]


class Writer(Protocol):
    """How changes are made; with the full way of every write."""

    async def create(self, resource: str, obj: Object) -> None: ...

    async def update(self, resource: str, obj: Object) -> None: ...

    async def delete(self, resource: str, name: str) -> None: ...


async def reconcile(store: Store, writer: Writer) -> None:
    """Make every default role and binding what it should be. Raises ApiError."""
    changes: list[Awaitable[None]] = []
    for role in policy.ROLES:
        changes += _change(store, writer, _ROLES, role.raw(), _merged_role)
    for binding in policy.BINDINGS:
        changes += _change(store, writer, _BINDINGS, binding.raw(), _merged_binding)
    await asyncio.gather(*changes)


def _change(store: Store, writer: Writer, resource: str, wanted: Object, merged: Any) -> list[Awaitable[None]]:
    entry = store.latest(Key(resource, "", wanted["metadata"]["name"]))
    if entry is None:
        return [writer.create(resource, wanted)]
    current = entry.object()
    if (current["metadata"].get("annotations") or {}).get(policy.AUTOUPDATE) == "false":
        return []
    if "roleRef" in wanted and current.get("roleRef") != wanted["roleRef"]:
        return [_replace(writer, resource, wanted)]
    updated = merged(current, wanted)
    return [writer.update(resource, updated)] if updated != entry.object() else []


async def _replace(writer: Writer, resource: str, wanted: Object) -> None:
    """A binding to another role cannot be changed, only made anew."""
    await writer.delete(resource, wanted["metadata"]["name"])
    await writer.create(resource, wanted)


def _merged_metadata(current: Object, wanted: Object) -> Object:
    metadata = current["metadata"]
    for key in ("labels", "annotations"):
        metadata[key] = {**(wanted["metadata"].get(key) or {}), **(metadata.get(key) or {})}
    return {**current, "metadata": metadata}


def _merged_role(current: Object, wanted: Object) -> Object:
    merged = _merged_metadata(current, wanted)
    if wanted.get("aggregationRule"):
        known = (current.get("aggregationRule") or {}).get("clusterRoleSelectors") or []
        new = [each for each in wanted["aggregationRule"]["clusterRoleSelectors"] if each not in known]
        return {**merged, "aggregationRule": {"clusterRoleSelectors": [*known, *new]}}
    owned = from_raw(current.get("rules"))
    absent = [rule for rule in wanted["rules"] if missing(owned, from_raw([rule]))]
    return {**merged, "rules": [*(current.get("rules") or ()), *absent]} if absent else merged


def _merged_binding(current: Object, wanted: Object) -> Object:
    merged = _merged_metadata(current, wanted)
    known = current.get("subjects") or []
    absent = [subject for subject in wanted["subjects"] if subject not in known]
    return {**merged, "subjects": [*known, *absent]} if absent else merged


class Aggregation:
    """Fills the rules of ClusterRoles with an aggregationRule from those that their selectors find."""

    def __init__(self, store: Store, writer: Writer) -> None:
        self._store = store
        self._writer = writer
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        self._store.subscribe(_ROLES, self._changed)
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                try:
                    await self.settle()
                except ApiError as error:
                    log.warning("failed to aggregate cluster roles", error=error)
        finally:
            self._store.unsubscribe(_ROLES, self._changed)

    async def settle(self) -> None:
        """Write until nothing changes any more: a role may be made of roles that are made of others."""
        while changes := self._changes():
            await asyncio.gather(*(self._writer.update(_ROLES, role) for role in changes))

    def _changed(self, event: Event) -> None:
        self._dirty.set()

    def _changes(self) -> list[Object]:
        entries = self._store.select(_ROLES)
        collecting = [entry for entry in entries if b'"aggregationRule":{' in entry.data]
        return [role for entry in collecting if (role := _collected(entry, entries)) is not None]


def _collected(entry: Entry, entries: Sequence[Entry]) -> Object | None:
    """The role with the rules it should have, or None when it has them."""
    role = entry.object()
    wanted = (role.get("aggregationRule") or {}).get("clusterRoleSelectors") or ()
    parsed = [selectors.from_object(decode(LabelSelector, selector)) for selector in wanted]
    rules: list[Object] = []
    for other in entries:
        if other.key.name != entry.key.name and any(selector.matches(other.labels) for selector in parsed):
            rules += [rule for rule in other.object().get("rules") or () if rule not in rules]
    same = _set_of(rules) == _set_of(role.get("rules") or ())
    return None if same else {**role, "rules": rules}


def _set_of(rules: Iterable[Object]) -> set[bytes]:
    """Order does not count: roles that are made of each other would never agree on one."""
    return {msgspec.json.encode(rule, order="deterministic") for rule in rules}
