"""Events of pods and nodes, written in order and without holding up the work."""

import asyncio

from fairway.kube.api.meta import ObjectReference
from fairway.kube.api.pods import Pod
from fairway.kube.reconcile.events import EventRecorder


class Reports:
    """A queue in front of the recorder: `emit` never waits."""

    def __init__(self, recorder: EventRecorder) -> None:
        self._recorder = recorder
        self._waiting: asyncio.Queue[tuple[ObjectReference, str, str, str]] = asyncio.Queue(maxsize=10_000)

    async def run(self) -> None:
        """Write until cancelled."""
        while True:
            await self._recorder.record(*await self._waiting.get())

    def normal(self, pod: Pod, reason: str, message: str, *, container: str = "", init: bool = False) -> None:
        """Something went as it should."""
        self.emit(reference(pod, container, init=init), "Normal", reason, message)

    def warning(self, pod: Pod, reason: str, message: str, *, container: str = "", init: bool = False) -> None:
        """Something needs attention."""
        self.emit(reference(pod, container, init=init), "Warning", reason, message)

    def emit(self, regarding: ObjectReference, type: str, reason: str, message: str) -> None:
        """Queue one event; when the API has been away for very long the newest are lost."""
        if not self._waiting.full():
            self._waiting.put_nowait((regarding, type, reason, message))


def reference(pod: Pod, container: str = "", *, init: bool = False) -> ObjectReference:
    """A pod, or one of its containers, as events name it."""
    field = "initContainers" if init else "containers"
    return ObjectReference(
        api_version="v1",
        kind="Pod",
        namespace=pod.metadata.namespace,
        name=pod.metadata.name,
        uid=pod.metadata.uid,
        resource_version=pod.metadata.resource_version,
        field_path=f"spec.{field}{{{container}}}" if container else "",
    )
