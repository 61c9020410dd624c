"""The way of every write: identity, admission, preparation, allocation, validation, ownership, then the store."""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from fairway.engine.apiserver import admission, errors, schema
from fairway.engine.apiserver.apply import managed_fields
from fairway.engine.apiserver.registry import deletion, identity, versions
from fairway.engine.apiserver.registry.allocation import RESOURCE as SERVICES
from fairway.engine.apiserver.registry.allocation import Claim, ServiceAllocator
from fairway.engine.apiserver.registry.bodies import Decoded
from fairway.engine.apiserver.registry.kinds import Kinds, resource_of, subject_of
from fairway.engine.apiserver.registry.names import generate, uid
from fairway.engine.apiserver.registry.options import DeleteOptions, WriteOptions
from fairway.engine.apiserver.resources import Cause, Kind
from fairway.engine.apiserver.resources.metadata import validate_metadata
from fairway.engine.apiserver.store import CommitFailed, Entry, Key, Store, encode
from fairway.engine.apiserver.store.entries import Object
from fairway.kube.api.meta import timestamp
from fairway.toolkit.clock import Clock

_GENERATE_ATTEMPTS = 8
_VISIBLE_SECONDS = 1.0

Write = Callable[[Key, Object, Entry | None], asyncio.Future[Entry]]
"""How the store takes a write: new object, old version."""


class Change(msgspec.Struct, frozen=True):
    """How an update goes in: through which subresource, what of it counts, and whether rules are checked.

    `owned` is False when the object says itself who owns what (after a server-side apply).
    """

    prepare: Callable[[Object, Object], None]
    subresource: str = ""
    validated: bool = True
    owned: bool = True


class Writes:
    """Everything up to the store is decided at once in the event loop; only the commit is waited for."""

    def __init__(
        self,
        store: Store,
        kinds: Kinds,
        allocator: ServiceAllocator,
        clock: Clock,
        plugins: Sequence[admission.Plugin] = admission.PLUGINS,
    ) -> None:
        self.store = store
        self._kinds = kinds
        self._allocator = allocator
        self._clock = clock
        self._plugins = plugins

    def now(self) -> datetime:
        return self._clock.now()

    # --- create

    async def create(
        self, kind: Kind, namespace: str, decoded: Decoded, options: WriteOptions, *, owned: bool = True
    ) -> Entry:
        """Raises ApiError."""
        obj = decoded.obj
        key = self._name(kind, namespace, obj)
        now = timestamp(self.now())
        obj["metadata"].update(uid=uid(), creationTimestamp=now)
        self._admit(admission.CREATE, kind, key, "", obj, None, options)
        kind.prepare_create(obj)
        obj = self._complete(kind, obj)
        if owned:
            obj = self._own(kind, None, obj, options, "")
        claims, causes = self._allocate(key, obj, None)
        found = validate_metadata(obj, kind.name_rule, namespaced=kind.namespaced)
        found += kind.validate(obj, None)
        causes += [*_unmentioned(decoded.missing, found), *found]
        self._refuse(kind, key.name, causes, claims)
        if (taken := self.store.latest(key)) is not None:
            self._allocator.release(claims)
            await self._visible(taken)
            raise errors.already_exists(subject_of(kind, key.name))
        if options.dry_run:
            self._allocator.release(claims)
            return _imagined(key, obj, None)
        return await self._commit(self.store.put, key, versions.stored(kind, obj), None, claims)

    async def _visible(self, entry: Entry) -> None:
        """Who is told that an object exists must find it: as long as its commit is on the way, a get would not."""
        with suppress(TimeoutError):  # the commit has failed, and the name is free again: the next try will tell
            async with asyncio.timeout(_VISIBLE_SECONDS):
                await self.store.reached(entry.revision)

    def _name(self, kind: Kind, namespace: str, obj: Object) -> Key:
        metadata = obj["metadata"]
        identity.start(kind, namespace, metadata)
        if not metadata.get("name") and metadata.get("generateName"):
            metadata["name"] = self._generate(kind, namespace, str(metadata["generateName"]))
            kind.default(obj)
        return Key(resource_of(kind), namespace, str(metadata.get("name") or ""))

    def _generate(self, kind: Kind, namespace: str, prefix: str) -> str:
        for _ in range(_GENERATE_ATTEMPTS):
            name = generate(prefix)
            if self.store.latest(Key(resource_of(kind), namespace, name)) is None:
                return name
        raise errors.already_exists(subject_of(kind, prefix))

    # --- update

    async def update(self, kind: Kind, old: Entry, decoded: Decoded, options: WriteOptions, change: Change) -> Entry:
        """`old` is the latest version; an update that changes nothing gives it back. Raises ApiError."""
        before, new, key = versions.current(kind, old), decoded.obj, old.key
        identity.keep(kind, key, new["metadata"], before["metadata"])
        self._admit(admission.UPDATE, kind, key, change.subresource, new, before, options)
        change.prepare(new, before)
        claims, causes = self._allocate(key, new, before)
        if change.owned:
            new = self._own(kind, before, new, options, change.subresource)
        if change.validated:
            found = validate_metadata(new, kind.name_rule, namespaced=kind.namespaced, old=before)
            found += kind.validate_parts.get(change.subresource, kind.validate)(new, before)
            causes += [*_unmentioned(decoded.missing, found), *found]
        self._refuse(kind, key.name, causes, claims)
        if identity.unchanged(new, before):
            return old
        if options.dry_run:
            self._allocator.release(claims)
            return _imagined(key, new, old)
        if deletion.is_over(kind, new):
            return await self._commit(self.store.delete, key, versions.stored(kind, new), old, claims)
        return await self._commit(self.store.put, key, versions.stored(kind, new), old, claims)

    # --- delete

    async def delete(self, kind: Kind, old: Entry, options: DeleteOptions) -> tuple[Entry, bool]:
        """The object's last state and whether it is gone; otherwise it was marked. Raises ApiError."""
        key, obj = old.key, versions.current(kind, old)
        _check_preconditions(kind, old, options)
        self._admit(admission.DELETE, kind, key, "", None, obj, options)
        outcome = deletion.plan(kind, obj, options, self.now())
        if outcome is deletion.Outcome.WAIT:
            return old, False
        removed = outcome is deletion.Outcome.REMOVE
        if options.dry_run:
            return _imagined(key, obj, old), removed
        write = self.store.delete if removed else self.store.put
        return await self._commit(write, key, versions.stored(kind, obj), old, ()), removed

    # --- parts

    def _admit(
        self,
        operation: str,
        kind: Kind,
        key: Key,
        subresource: str,
        obj: Object | None,
        old: Object | None,
        options: WriteOptions | DeleteOptions,
    ) -> None:
        subject = subject_of(kind, key.name)
        review = admission.Review(operation, key, subject, subresource, obj, old, options.user, self.store)
        admission.admit(review, self._plugins)

    def _allocate(self, key: Key, new: Object, old: Object | None) -> tuple[Sequence[Claim], list[Cause]]:
        return self._allocator.allocate(new, old) if key.resource == SERVICES else ((), [])

    def _refuse(self, kind: Kind, name: str, causes: list[Cause], claims: Sequence[Claim]) -> None:
        if causes:
            self._allocator.release(claims)
            raise errors.invalid(subject_of(kind, name), causes)

    def _complete(self, kind: Kind, obj: Object) -> Object:
        """With the counters that a fresh status always shows: strict clients insist on them."""
        structure = self._kinds.type(kind)
        return obj if structure is None or kind.custom is not None else schema.complete(structure, obj)

    def _own(self, kind: Kind, old: Object | None, new: Object, options: WriteOptions, subresource: str) -> Object:
        """Record which manager owns which field."""
        structure = self._kinds.type(kind)
        if structure is None:
            return new
        now = timestamp(self.now())
        return managed_fields.updated(structure, old, new, options.field_manager, now, subresource, kind.api_version)

    async def _commit(self, write: Write, key: Key, obj: Object, old: Entry | None, claims: Sequence[Claim]) -> Entry:
        """Wait until a write is durable; when it fails, give back what it had taken (also if nobody waits any more)."""
        try:
            future = write(key, obj, old)
        except CommitFailed as error:
            self._allocator.release(claims)
            raise errors.internal(str(error)) from error
        if claims:
            future.add_done_callback(lambda done: self._settle(done, claims))
        try:
            return await asyncio.shield(future)
        except CommitFailed as error:
            raise errors.internal(str(error)) from error

    def _settle(self, done: asyncio.Future[Entry], claims: Iterable[Claim]) -> None:
        if done.cancelled() or done.exception() is not None:
            self._allocator.release(claims)


def _unmentioned(missing: Sequence[Cause], found: Sequence[Cause]) -> Iterable[Cause]:
    """Absent fields of which validation says nothing itself, neither of them nor of what would be in them."""
    named = [cause.field for cause in found]
    for cause in missing:
        if not any(field == cause.field or field.startswith((f"{cause.field}.", f"{cause.field}[")) for field in named):
            yield cause


def _imagined(key: Key, obj: Object, old: Entry | None) -> Entry:
    """What a dry run would have stored; a creation has no resource version."""
    if old is not None:
        return Entry(key, old.revision, encode(obj, old.revision))
    obj["metadata"].pop("resourceVersion", None)
    return Entry(key, 0, msgspec.json.encode({"kind": obj["kind"], "apiVersion": obj["apiVersion"], **obj}))


def _check_preconditions(kind: Kind, old: Entry, options: DeleteOptions) -> None:
    """In the words of upstream's BeforeDelete, which call the resource by its kind."""
    subject = errors.Subject(kind.group, kind.kind, old.key.name)
    if options.uid is not None and options.uid != old.uid:
        why = f"the UID in the precondition ({options.uid}) does not match the UID in record ({old.uid})"
        raise errors.conflict(subject, f"{why}. The object might have been deleted and then recreated")
    if options.revision is not None and options.revision != str(old.revision):
        found = f"the ResourceVersion in record ({old.revision})"
        why = f"the ResourceVersion in the precondition ({options.revision}) does not match {found}"
        raise errors.conflict(subject, f"{why}. The object might have been modified")
