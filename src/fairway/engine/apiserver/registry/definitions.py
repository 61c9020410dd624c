"""Keeps the table of kinds in step with the CustomResourceDefinitions in the store.

A definition is served as soon as it is durable, before its creator gets an answer; its status follows at once. A
definition that is deleted takes its objects along (upstream's naming, establishing and finalizing controllers).
"""

import asyncio

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.registry.filters import EVERYTHING
from fairway.engine.apiserver.registry.kinds import resource_of
from fairway.engine.apiserver.registry.options import DeleteOptions, WriteOptions
from fairway.engine.apiserver.registry.registry import Registry
from fairway.engine.apiserver.resources import Kind, custom
from fairway.engine.apiserver.resources.customresourcedefinitions import (
    CUSTOM_RESOURCE_DEFINITIONS,
    FINALIZER,
    condition,
    is_established,
)
from fairway.engine.apiserver.store import DELETED, Entry, Event, Key
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp
from fairway.toolkit import logs

log = logs.get("apiserver")

_OPTIONS = WriteOptions(field_manager="kube-apiserver")
_RETRY_SECONDS = 1.0
_NAMES = ("plural", "singular", "shortNames", "kind", "listKind", "categories")


class Definitions:
    """To be started before the server listens; `run` does what takes writes."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._built_in = registry.kinds.all
        self._resource = resource_of(CUSTOM_RESOURCE_DEFINITIONS)
        self._kinds: dict[str, tuple[Kind, ...]] = {}
        self._compiled: dict[str, tuple[bytes, int]] = {}
        self._due: dict[str, None] = {}
        self._wake = asyncio.Event()

    def start(self) -> None:
        """Serve what is in the store already, and follow what comes."""
        for entry in self._registry.store.select(self._resource):
            self._serve(entry)
        self._publish()
        self._registry.store.subscribe(self._resource, self._changed)

    async def run(self) -> None:
        """Write statuses and clean up, forever."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            due, self._due = self._due, {}
            again = [name for name in due if not await self._reconcile(name)]
            if again:
                self._due.update(dict.fromkeys(again))
                asyncio.get_running_loop().call_later(_RETRY_SECONDS, self._wake.set)

    # --- what is served

    def _changed(self, event: Event) -> None:
        """Called by the store with every durable change."""
        name = event.key.name
        if event.type == DELETED:
            self._kinds.pop(name, None)
            self._compiled.pop(name, None)
            for other in self._registry.store.select(self._resource):
                self._look_at(other.key.name)  # a name that was taken may be free now
            self._publish()
        elif self._serve(event.entry):
            self._publish()

    def _serve(self, entry: Entry) -> bool:
        """Whether the table changed."""
        name, definition = entry.key.name, entry.object()
        self._look_at(name)
        names, _ = self._accepted(name, definition)
        established = is_established(definition) or self._conflict(name, definition) == ""
        content = msgspec.json.encode([definition["spec"], names, definition["metadata"].get("deletionTimestamp")])
        known = self._compiled.get(name)
        if not established or (known is not None and known[0] == content):
            return False
        metadata = self._registry.kinds.schemas.named("io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta")
        self._compiled[name] = (content, entry.revision)
        try:
            self._kinds[name] = tuple(custom.kinds_of(definition, metadata, entry.revision, names))
        except ValueError as error:
            log.error("cannot serve a definition", name=name, error=error)
            return False
        return True

    def _publish(self) -> None:
        found = [kind for kinds in self._kinds.values() for kind in kinds]
        found.sort(key=lambda kind: (kind.group, custom.priority(kind.version)))
        self._registry.kinds.replace((*self._built_in, *found))

    def _look_at(self, name: str) -> None:
        self._due[name] = None
        self._wake.set()

    # --- names

    def _conflict(self, name: str, definition: Object) -> str:
        """What the definition's own names collide with, or an empty string; names that only abbreviate do not count."""
        group, names = definition["spec"]["group"], definition["spec"]["names"]
        taken_plurals, taken_kinds = self._taken(name, group)
        for key in ("plural", "singular"):
            if names.get(key) in taken_plurals:
                return f'"{names[key]}" is already in use'
        for key in ("kind", "listKind"):
            if names.get(key) in taken_kinds:
                return f'"{names[key]}" is already in use'
        return ""

    def _accepted(self, name: str, definition: Object) -> tuple[Object, list[str]]:
        """The names that are free, and the short ones that are not."""
        spec = definition["spec"]
        taken, _ = self._taken(name, spec["group"])
        short = [short for short in spec["names"].get("shortNames") or () if short in taken]
        names = {key: spec["names"][key] for key in _NAMES if spec["names"].get(key)}
        if short:
            names["shortNames"] = [one for one in names["shortNames"] if one not in short]
        return names, short

    def _taken(self, name: str, group: str) -> tuple[set[str], set[str]]:
        plurals: set[str] = set()
        kinds: set[str] = set()
        others = [kind for known, served in self._kinds.items() if known != name for kind in served]
        for kind in (*self._built_in, *others):
            if kind.group == group:
                plurals |= {kind.plural, kind.singular, *kind.short_names}
                kinds |= {kind.kind, kind.list_kind}
        return plurals, kinds

    # --- what takes writes

    async def _reconcile(self, name: str) -> bool:
        """Whether nothing is left to do."""
        entry = self._registry.store.get(Key(self._resource, "", name))
        if entry is None:
            return True
        try:
            if b'"deletionTimestamp"' in entry.data and entry.object()["metadata"].get("deletionTimestamp"):
                return await self._clean_up(name, entry)
            await self._write_status(name, entry)
        except errors.ApiError as error:
            return error.code == 404
        return True

    async def _write_status(self, name: str, entry: Entry) -> None:
        definition = entry.object()
        before = msgspec.json.encode(definition.get("status"))
        now = timestamp(self._registry.now())
        conflict = self._conflict(name, definition)
        names, short = self._accepted(name, definition)
        if conflict or short:
            says = conflict or ", ".join(f'"{one}"' for one in short) + " is already in use"
            reason = "NameConflict" if conflict else "ShortNamesConflict"
            condition(definition, "NamesAccepted", "False", reason, says, now)
        else:
            condition(definition, "NamesAccepted", "True", "NoConflicts", "no conflicts found", now)
        if not conflict:
            definition["status"]["acceptedNames"] = names
        if not conflict and not is_established(definition):
            says = "the initial names have been accepted"
            condition(definition, "Established", "True", "InitialNamesAccepted", says, now)
        elif conflict and not is_established(definition):
            condition(definition, "Established", "False", "NotAccepted", "not all names are accepted", now)
        if msgspec.json.encode(definition["status"]) != before:
            await self._registry.modify(CUSTOM_RESOURCE_DEFINITIONS, entry, definition, _OPTIONS, "status")

    async def _clean_up(self, name: str, entry: Entry) -> bool:
        """Delete the objects, then let the definition go."""
        definition = entry.object()
        if FINALIZER not in (definition["metadata"].get("finalizers") or ()):
            return True
        kind = next(iter(self._kinds.get(name, ())), None)
        if kind is not None:
            left = self._registry.select(kind, None, EVERYTHING)
            if left:
                await self._registry.delete_all(kind, None, EVERYTHING, DeleteOptions())
            if self._registry.select(kind, None, EVERYTHING):
                return False
        latest = self._registry.latest(CUSTOM_RESOURCE_DEFINITIONS, "", name)
        definition = latest.object()
        finalizers = [one for one in definition["metadata"].get("finalizers") or () if one != FINALIZER]
        definition["metadata"]["finalizers"] = finalizers
        if not finalizers:
            del definition["metadata"]["finalizers"]
        says = "removed all instances"
        condition(
            definition, "Terminating", "False", "InstanceDeletionCompleted", says, timestamp(self._registry.now())
        )
        await self._registry.modify(CUSTOM_RESOURCE_DEFINITIONS, latest, definition, _OPTIONS, "")
        return True
