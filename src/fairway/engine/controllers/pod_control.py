"""Making and deleting pods for an owner: with events, and with what the cache has not shown yet."""

import asyncio
import secrets
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from fairway.engine.controllers.refusals import namespace_is_ending
from fairway.engine.controllers.replicaset.expectations import Expectations
from fairway.engine.controllers.replicaset.plan import batches
from fairway.kube.api.meta import ObjectKey, ObjectReference
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Conflict, NotFound, Unreachable
from fairway.kube.reconcile.events import EventRecorder
from fairway.toolkit.clock import Clock

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
Draft = dict[str, Any]


def suffix() -> str:
    """Five letters that make a name unique."""
    return "".join(secrets.choice(_ALPHABET) for _ in range(5))


class PodControl:
    """`expected` tells a plan which pods (by name) will appear and which (by uid) will go."""

    def __init__(self, client: ApiClient, events: EventRecorder, clock: Clock) -> None:
        self.expected = Expectations(clock.monotonic)
        self._client = client
        self._events = events

    async def make(self, owner: ObjectReference, drafts: Sequence[Draft]) -> Exception | None:
        """Make them in growing batches; the first error ends it, so that a mistake they all share is found cheaply."""
        start = 0
        for size in batches(len(drafts)):
            results = await asyncio.gather(*(self._make_one(owner, item) for item in drafts[start : start + size]))
            start += size
            if error := next((result for result in results if result is not None), None):
                return error
        return None

    async def delete(self, owner: ObjectReference, pods: Iterable[Pod]) -> Exception | None:
        """Delete them all; the first error, if there was one."""
        results = await asyncio.gather(*(self._delete_one(owner, pod) for pod in pods))
        return next((result for result in results if result is not None), None)

    def observe(self, owner: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        """Note what a watch has shown of a pod."""
        if new is not None:
            self.expected.pod_seen(owner, new.metadata.name)
        if old is not None and (new is None or new.metadata.deletion_timestamp):
            self.expected.pod_seen(owner, old.metadata.name)
            self.expected.deletion_seen(owner, old.metadata.uid)

    async def _make_one(self, owner: ObjectReference, pod: Draft) -> Exception | None:
        key, name = ObjectKey(owner.namespace, owner.name), pod["metadata"]["name"]
        self.expected.expect_pod(key, name)
        try:
            await self._client.create(PODS, pod)
        except (ApiError, Unreachable) as error:
            self.expected.pod_seen(key, name)
            if isinstance(error, ApiError) and namespace_is_ending(error):
                return None
            await self._events.record(owner, "Warning", "FailedCreate", f"Error creating: {error}")
            return error
        await self._events.record(owner, "Normal", "SuccessfulCreate", f"Created pod: {name}")
        return None

    async def _delete_one(self, owner: ObjectReference, pod: Pod) -> Exception | None:
        key, metadata = ObjectKey(owner.namespace, owner.name), pod.metadata
        self.expected.expect_deletion(key, metadata.uid)
        try:
            await self._client.delete(PODS, metadata.name, namespace=metadata.namespace, uid=metadata.uid)
        except (NotFound, Conflict):
            self.expected.deletion_seen(key, metadata.uid)  # gone, or another pod of that name
            return None
        except (ApiError, Unreachable) as error:
            self.expected.deletion_seen(key, metadata.uid)
            await self._events.record(owner, "Warning", "FailedDelete", f"Error deleting: {error}")
            return error
        await self._events.record(owner, "Normal", "SuccessfulDelete", f"Deleted pod: {metadata.name}")
        return None


def owners_of(kind: str, queue: Callable[[ObjectKey], None]) -> Callable[[ObjectKey, Pod | None, Pod | None], None]:
    """A subscriber of pods that asks for work on the owner before and after a change."""

    def changed(key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        for version in (old, new):
            owner = version.metadata.controller if version else None
            if owner and owner.kind == kind:
                queue(ObjectKey(key.namespace, owner.name))

    return changed
