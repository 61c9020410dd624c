"""Events on objects: what people see in `kubectl describe`."""

import hashlib
from collections import OrderedDict
from typing import Any

from fairway.kube.api.meta import ObjectReference, timestamp
from fairway.kube.api.noun import encode
from fairway.kube.api.resource import EVENTS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, NotFound, Unreachable
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("events")
_REMEMBERED_MAX = 4096
_MESSAGE_LENGTH_MAX = 1024


class EventRecorder:
    """Writes v1 Events; the same event again raises the count of the first one, as client-go's correlator does."""

    def __init__(self, client: ApiClient, component: str, clock: Clock) -> None:
        self._client = client
        self._component = component
        self._clock = clock
        self._started = clock.now().isoformat()  # keeps names apart from those of an earlier run
        self._seen: OrderedDict[str, int] = OrderedDict()

    async def record(self, regarding: ObjectReference, type: str, reason: str, message: str) -> None:
        """Report something about an object; `type` is Normal or Warning.

        Never raises: an event that cannot be written is logged and lost, work goes on.
        """
        message = message[:_MESSAGE_LENGTH_MAX]
        name = self._name(regarding, type, reason, message)
        namespace = regarding.namespace or "default"
        try:
            if name in self._seen and await self._count(namespace, name):
                return
            await self._client.create(EVENTS, self._event(name, namespace, regarding, type, reason, message))
            self._remember(name, 1)
        except (ApiError, Unreachable) as error:
            log.warning("lost", regarding=f"{regarding.kind}/{regarding.name}", reason=reason, error=error)

    def _name(self, regarding: ObjectReference, type: str, reason: str, message: str) -> str:
        parts = (self._component, regarding.kind, regarding.uid, regarding.field_path, type, reason, message)
        digest = hashlib.sha256("\0".join((*parts, self._started)).encode()).hexdigest()[:16]
        return f"{regarding.name[:220]}.{digest}"

    async def _count(self, namespace: str, name: str) -> bool:
        count = self._seen[name] + 1
        patch = {"count": count, "lastTimestamp": timestamp(self._clock.now())}
        try:
            await self._client.patch(EVENTS, name, patch, namespace=namespace)
        except NotFound:
            return False  # expired meanwhile: write it anew
        self._remember(name, count)
        return True

    def _remember(self, name: str, count: int) -> None:
        self._seen[name] = count
        self._seen.move_to_end(name)
        if len(self._seen) > _REMEMBERED_MAX:
            self._seen.popitem(last=False)

    def _event(
        self, name: str, namespace: str, regarding: ObjectReference, type: str, reason: str, message: str
    ) -> dict[str, Any]:
        now = self._clock.now()
        return {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"name": name, "namespace": namespace},
            "involvedObject": encode(regarding),
            "type": type,
            "reason": reason,
            "message": message,
            "source": {"component": self._component},
            "reportingComponent": self._component,
            "reportingInstance": "fairway",
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
        }
