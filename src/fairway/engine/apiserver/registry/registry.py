"""Everything that can be done with the objects of a kind, whichever kind it is."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import msgspec

from fairway.engine.apiserver import admission, errors
from fairway.engine.apiserver.registry import patches, scale, versions
from fairway.engine.apiserver.registry.allocation import ServiceAllocator
from fairway.engine.apiserver.registry.bodies import Body, Decoded, decode
from fairway.engine.apiserver.registry.filters import EVERYTHING, Filter
from fairway.engine.apiserver.registry.kinds import Kinds, resource_of, subject_of
from fairway.engine.apiserver.registry.options import IGNORE, DeleteOptions, WriteOptions
from fairway.engine.apiserver.registry.patches import PatchType
from fairway.engine.apiserver.registry.writes import Change, Writes
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.resources.kind import keep_nothing
from fairway.engine.apiserver.store import Entry, Key, Store
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp
from fairway.toolkit.clock import Clock

_STATUS, _SCALE = "status", "scale"


class Result(msgspec.Struct, frozen=True):
    """The object after a request, and warnings for the client."""

    entry: Entry
    warnings: tuple[str, ...] = ()
    created: bool = False


class Registry:
    """The verbs. Every method raises ApiError for what the client did wrong."""

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        allocator: ServiceAllocator,
        clock: Clock,
        plugins: Sequence[admission.Plugin] = admission.PLUGINS,
    ) -> None:
        self.store = store
        self.kinds = kinds
        self._writes = Writes(store, kinds, allocator, clock, plugins)

    # --- reading

    def get(self, kind: Kind, namespace: str, name: str) -> Entry:
        """The durable version."""
        entry = self.store.get(Key(resource_of(kind), namespace, name))
        if entry is None:
            raise errors.not_found(subject_of(kind, name))
        return entry

    def select(self, kind: Kind, namespace: str | None, wanted: Filter = EVERYTHING) -> list[Entry]:
        """All durable objects that match, sorted by namespace and name."""
        entries = self.store.select(resource_of(kind), namespace)
        return entries if wanted.everything else [entry for entry in entries if wanted.matches(kind, entry)]

    # --- writing

    async def create(self, kind: Kind, namespace: str, body: Body, options: WriteOptions, name: str = "") -> Result:
        """`name` is that of the URL, if it has one."""
        decoded = self._decode(kind, body, options)
        if name:
            decoded.obj["metadata"].setdefault("name", name)
        entry = await self._writes.create(kind, namespace, decoded, options)
        return Result(entry, decoded.warnings, created=True)

    async def update(
        self, kind: Kind, namespace: str, name: str, body: Body, options: WriteOptions, subresource: str = ""
    ) -> Result:
        """Replace the object, or what a subresource shows of it."""
        if kind.create_on_update and not subresource and not self._exists(kind, namespace, name):
            return await self.create(kind, namespace, _unversioned(kind, name, body), options, name)
        old = self._latest(kind, namespace, name)
        if subresource == _SCALE:
            return await self._scale(kind, old, body, options)
        decoded = self._decode(kind, body, options)
        if not decoded.obj["metadata"].get("name"):
            raise errors.bad_request("name must be provided")
        return await self._update(kind, old, decoded, options, subresource)

    async def patch(
        self,
        kind: Kind,
        namespace: str,
        name: str,
        how: PatchType,
        body: Body,
        options: WriteOptions,
        subresource: str = "",
    ) -> Result:
        """Patch the object, or what a subresource shows of it; a server-side apply may create it."""
        if how is PatchType.APPLY:
            return await self._apply(kind, namespace, name, body, options, subresource)
        old = self._latest(kind, namespace, name)
        if subresource == _SCALE:
            shown = scale.scale_of(versions.current(kind, old), kind.scale_paths)
            patched = patches.patched(kind, self.kinds.type(scale.SCALES), how, shown, body.value)
            return await self._scale(kind, old, Body(patched, body.duplicates), options)
        wanted = patches.patched(kind, self.kinds.type(kind), how, versions.current(kind, old), body.value)
        decoded = self._decode(kind, Body(wanted, body.duplicates), options)
        return await self._update(kind, old, decoded, options, subresource)

    async def delete(self, kind: Kind, namespace: str, name: str, options: DeleteOptions) -> tuple[Entry, bool]:
        """The last state and whether the object is gone already."""
        return await self._writes.delete(kind, self._latest(kind, namespace, name), options)

    async def delete_all(
        self, kind: Kind, namespace: str | None, wanted: Filter, options: DeleteOptions
    ) -> Sequence[Entry]:
        """Delete everything that matches; what disappears meanwhile counts as deleted."""
        return await asyncio.gather(
            *(self._delete(kind, entry, options) for entry in self.select(kind, namespace, wanted))
        )

    async def modify(self, kind: Kind, old: Entry, obj: Object, options: WriteOptions, subresource: str) -> Entry:
        """Store a change that the server itself made to the latest version: a binding, for example."""
        change = Change(keep_nothing, subresource, validated=False)
        return await self._writes.update(kind, old, Decoded(obj), options, change)

    def now(self) -> datetime:
        """The server's time."""
        return self._writes.now()

    def latest(self, kind: Kind, namespace: str, name: str) -> Entry:
        """The version that a write has to build on."""
        return self._latest(kind, namespace, name)

    # --- parts

    def _latest(self, kind: Kind, namespace: str, name: str) -> Entry:
        entry = self.store.latest(Key(resource_of(kind), namespace, name))
        if entry is None:
            raise errors.not_found(subject_of(kind, name))
        return entry

    def _exists(self, kind: Kind, namespace: str, name: str) -> bool:
        return self.store.latest(Key(resource_of(kind), namespace, name)) is not None

    def _decode(self, kind: Kind, body: Body, options: WriteOptions) -> Decoded:
        return decode(kind, self.kinds.type(kind), body, options.field_validation)

    async def _update(
        self, kind: Kind, old: Entry, decoded: Decoded, options: WriteOptions, subresource: str, *, owned: bool = True
    ) -> Result:
        change = Change(_preparation(kind, subresource), subresource, owned=owned)
        entry = await self._writes.update(kind, old, decoded, options, change)
        return Result(entry, decoded.warnings)

    async def _apply(
        self, kind: Kind, namespace: str, name: str, body: Body, options: WriteOptions, subresource: str
    ) -> Result:
        warnings: tuple[str, ...] = ()
        if subresource == _SCALE:
            given = Body(msgspec.json.decode(msgspec.json.encode(body.value)), body.duplicates)
            warnings = decode(scale.SCALES, self.kinds.type(scale.SCALES), given, options.field_validation).warnings
            body = Body(scale.configuration(kind, name, body.value))
        wanted = _named(kind, namespace, name, body)
        old = self.store.latest(Key(resource_of(kind), namespace, name))
        if old is None and (subresource or wanted["metadata"].get("resourceVersion")):
            raise errors.not_found(subject_of(kind, name))
        checked = self._decode(kind, Body(msgspec.json.decode(msgspec.json.encode(wanted)), body.duplicates), options)
        live, now = versions.current(kind, old) if old else None, timestamp(self._writes.now())
        merged = patches.applied(kind, self.kinds.type(kind), live, wanted, options, now, subresource)
        decoded = decode(kind, self.kinds.type(kind), Body(merged), IGNORE)
        decoded = Decoded(decoded.obj, decoded.missing, (*warnings, *checked.warnings))
        if old is None:
            entry = await self._writes.create(kind, namespace, decoded, options, owned=False)
            return Result(entry, decoded.warnings, created=True)
        return await self._update(kind, old, decoded, options, subresource, owned=False)

    async def _scale(self, kind: Kind, old: Entry, body: Body, options: WriteOptions) -> Result:
        wanted = decode(scale.SCALES, self.kinds.type(scale.SCALES), body, options.field_validation)
        obj = scale.scaled(kind, versions.current(kind, old), wanted.obj)
        return await self._update(kind, old, Decoded(obj, warnings=wanted.warnings), options, _SCALE)

    async def _delete(self, kind: Kind, entry: Entry, options: DeleteOptions) -> Entry:
        try:
            return (await self.delete(kind, entry.key.namespace, entry.key.name, options))[0]
        except errors.ApiError as error:
            if error.code == 404:
                return entry
            raise


def _unversioned(kind: Kind, name: str, body: Body) -> Body:
    """A body that may create an object: it claims no version of one that existed. Raises ApiError 404 and 400."""
    metadata = body.value.get("metadata") if isinstance(body.value, dict) else None
    if isinstance(metadata, dict):
        if metadata.get("resourceVersion"):
            raise errors.not_found(subject_of(kind, name))
        if metadata.get("name") not in (None, "", name):
            given = metadata["name"]
            why = f"the name of the object ({given}) does not match the name on the URL ({name})"
            raise errors.bad_request(why)
    return body


def _preparation(kind: Kind, subresource: str) -> Any:
    if subresource == _STATUS:
        return kind.prepare_status
    if subresource in kind.prepare_parts:
        return kind.prepare_parts[subresource]
    return _prepare_finalize if subresource == "finalize" else kind.prepare_update


def _prepare_finalize(new: Object, old: Object) -> None:
    """Through `finalize` only a namespace's own finalizers change."""
    finalizers = (new.get("spec") or {}).get("finalizers") or []
    new.update({key: value for key, value in old.items() if key not in ("metadata", "spec")})
    new["spec"] = {**(old.get("spec") or {}), "finalizers": finalizers}
    if not finalizers:
        del new["spec"]["finalizers"]


def _named(kind: Kind, namespace: str, name: str, body: Body) -> Object:
    """An apply configuration whose kind and name agree with the URL. Raises ApiError 400."""
    wanted = body.value
    if not isinstance(wanted, dict) or not isinstance(wanted.get("metadata") or {}, dict):
        raise errors.bad_request("error decoding YAML: the patch is not an object")
    for key in ("apiVersion", "kind"):
        if not wanted.get(key):
            raise errors.bad_request(f"Object '{key[0].upper()}{key[1:]}' is missing in the apply patch")
    metadata = {**(wanted.get("metadata") or {})}
    metadata["name"] = metadata.get("name") or name
    if metadata["name"] != name:
        raise errors.bad_request(
            f"metadata.name ({metadata['name']}) does not match the name on the URL ({name}) for {kind.kind}"
        )
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or namespace
    return {**wanted, "metadata": metadata}
