"""Events on objects: what people see in `kubectl describe`."""

from collections import OrderedDict
from typing import Any

import msgspec

from fairway.kube.api.meta import ObjectReference, timestamp
from fairway.kube.api.noun import encode
from fairway.kube.api.resource import EVENTS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, NotFound, Unreachable
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("events")
_REMEMBERED_MAX = 4096
_MESSAGE_LENGTH_MAX = 1024
_NAMES_MAX = 10


class _Written(msgspec.Struct, frozen=True):
    name: str
    count: int


class EventRecorder:
    """Writes v1 Events; the same event again raises the count of the first one, as client-go's correlator does.

    Their times are whole seconds, so clients that sort by time keep the order of the list, which is that of names: as
    in client-go, a name ends in nanoseconds. `host` is the node that the component runs on, if that matters.
    """

    def __init__(self, client: ApiClient, component: str, clock: Clock, *, host: str = "") -> None:
        self._client = client
        self._component = component
        self._clock = clock
        self._host = host
        self._nanoseconds = 0
        self._seen: OrderedDict[tuple[str, ...], _Written] = OrderedDict()

    async def record(self, regarding: ObjectReference, type: str, reason: str, message: str) -> None:
        """Report something about an object; `type` is Normal or Warning.

        Never raises: an event that cannot be written is logged and lost, work goes on.
        """
        message = message[:_MESSAGE_LENGTH_MAX]
        known = (regarding.kind, regarding.uid, regarding.name, regarding.field_path, type, reason, message)
        namespace = regarding.namespace or "default"
        try:
            if known in self._seen and await self._count(namespace, known):
                return
            await self._create(namespace, known, regarding, type, reason, message)
        except (ApiError, Unreachable) as error:
            log.warning("lost", regarding=f"{regarding.kind}/{regarding.name}", reason=reason, error=error)

    async def _create(
        self, namespace: str, known: tuple[str, ...], regarding: ObjectReference, type: str, reason: str, message: str
    ) -> None:
        for _ in range(_NAMES_MAX):
            name = self._name(regarding)
            try:
                await self._client.create(EVENTS, self._event(name, namespace, regarding, type, reason, message))
            except AlreadyExists:
                continue  # another component spoke of it in the same nanosecond
            self._remember(known, _Written(name, 1))
            return

    def _name(self, regarding: ObjectReference) -> str:
        now = int(self._clock.now().timestamp() * 1_000_000) * 1000
        self._nanoseconds = max(self._nanoseconds + 1, now)
        return f"{regarding.name[:220]}.{self._nanoseconds:x}"

    async def _count(self, namespace: str, known: tuple[str, ...]) -> bool:
        written = msgspec.structs.replace(self._seen[known], count=self._seen[known].count + 1)
        patch = {"count": written.count, "lastTimestamp": timestamp(self._clock.now())}
        try:
            await self._client.patch(EVENTS, written.name, patch, namespace=namespace)
        except NotFound:
            return False  # expired meanwhile: write it anew
        self._remember(known, written)
        return True

    def _remember(self, known: tuple[str, ...], written: _Written) -> None:
        self._seen[known] = written
        self._seen.move_to_end(known)
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
            "source": {"component": self._component, **({"host": self._host} if self._host else {})},
            "reportingComponent": self._component,
            "reportingInstance": self._host,
            "firstTimestamp": timestamp(now),
            "lastTimestamp": timestamp(now),
            "count": 1,
        }
