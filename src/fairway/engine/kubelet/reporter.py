"""Write the status of one pod, once for each change, and delete the pod at its end."""

from fairway.engine.kubelet.snapshot import PodSeen
from fairway.engine.kubelet.status import Json, pod_status
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS
from fairway.kube.client.client import ApiClient, PatchType
from fairway.kube.client.errors import Conflict, NotFound


class Reporter:
    """Remembers what it wrote: the watch that brings it back may lag behind."""

    def __init__(self, client: ApiClient, host_ip: str) -> None:
        self._client = client
        self._host_ip = host_ip
        self._sent: Json | None = None
        self._written: Pod | None = None
        self._deleted = False

    def newest(self, pod: Pod) -> Pod:
        """The pod from the watch, or our own newer one."""
        if self._written is not None and _revision(self._written) > _revision(pod):
            return self._written
        self._written = None
        return pod

    async def report(self, pod: Pod, seen: PodSeen) -> None:
        """Write the status if it differs from the last one.  Raises ApiError, Unreachable.

        A strategic merge patch leaves the conditions of others alone; the uid makes sure that it is still this pod.
        """
        status = pod_status(pod, seen, host_ip=self._host_ip)
        if status == self._sent or self._deleted:
            return
        patch = {"metadata": {"uid": pod.metadata.uid}, "status": status}
        metadata = pod.metadata
        try:
            raw = await self._client.patch(
                PODS,
                metadata.name,
                patch,
                namespace=metadata.namespace,
                subresource="status",
                type=PatchType.STRATEGIC,
            )
        except NotFound:
            return  # deleted meanwhile: the watch will say so
        self._sent = status
        self._written = decode(Pod, raw)

    async def delete(self, pod: Pod) -> None:
        """Take the pod out of the API, unless its name belongs to another one by now.  Raises ApiError, Unreachable."""
        if self._deleted:
            return
        metadata = pod.metadata
        try:
            await self._client.delete(
                PODS, metadata.name, namespace=metadata.namespace, uid=metadata.uid, grace_period_seconds=0
            )
        except (NotFound, Conflict):
            pass
        self._deleted = True


def _revision(pod: Pod) -> int:
    """Opaque elsewhere, but this kubelet belongs to an API whose revisions are numbers."""
    version = pod.metadata.resource_version
    return int(version) if version.isdigit() else 0
