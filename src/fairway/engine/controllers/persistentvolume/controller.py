"""The loop: whenever a claim, a volume, a class or a pod with a claim changes, decide about claim and volume."""

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairway.engine.controllers.caches import BY_NAMESPACE, Caches
from fairway.engine.controllers.persistentvolume import drafts
from fairway.engine.controllers.persistentvolume.folders import Folders
from fairway.engine.controllers.persistentvolume.plan import (
    BY_CONTROLLER,
    CLAIM_FINALIZER,
    VOLUME_FINALIZER,
    ClaimPlan,
    Provision,
    Said,
    VolumePlan,
    plan_claim,
    plan_volume,
)
from fairway.engine.controllers.persistentvolume.snapshot import Seen, SeenVolume
from fairway.engine.controllers.references import object_reference
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES, Resource
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import PersistentVolume, StorageClass, asked, claims_of
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, Conflict, NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

ROOM = "persistentvolume-controller"
log = logs.get(ROOM)


class VolumeController:
    """One queue for both kinds: the key of a volume has no namespace."""

    def __init__(
        self,
        client: ApiClient,
        caches: Caches,
        volumes: Reflector[PersistentVolume],
        classes: Reflector[StorageClass],
        clock: Clock,
        folders: Folders,
    ) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._claims = caches.claims.cache
        self._pods = caches.pods.cache
        self._nodes = caches.nodes.cache
        self._volumes = volumes.cache
        self._classes = classes.cache
        self._folders = folders
        self._events = EventRecorder(client, ROOM, clock)
        self._said: dict[str, Said] = {}
        self._claims.subscribe(self._claim_changed)
        self._volumes.subscribe(self._volume_changed)
        self._classes.subscribe(lambda key, old, new: self._pending_again())
        self._nodes.subscribe(lambda key, old, new: self._pending_again() if old is None else None)
        self._pods.subscribe(self._pod_changed)
        for claim in self._claims.values():
            self.queue.add(claim.metadata.key)
        for volume in self._volumes.values():
            self.queue.add(volume.metadata.key)

    async def reconcile(self, key: ObjectKey) -> None:
        """Look at one claim or volume."""
        try:
            await (self._claim(key) if key.namespace else self._volume(key.name))
        except (Conflict, NotFound):
            return  # changed or gone meanwhile: its event brings another look

    # --- claims

    async def _claim(self, key: ObjectKey) -> None:
        claim = self._claims.get(key)
        if claim is None:
            return
        decided = plan_claim(self._seen(claim))
        if decided.finalizer is not None:
            await self._finalizer(PERSISTENT_VOLUME_CLAIMS, claim.metadata, CLAIM_FINALIZER, wanted=decided.finalizer)
            return  # the change brings another look
        if decided.bind is not None:
            await self._bind(claim, decided.bind)
        elif decided.expand is not None:
            await self._expand(claim, decided.expand)
        elif decided.provision is not None:
            await self._provision(claim, decided.provision)
        await self._report(claim, decided)

    def _seen(self, claim: PersistentVolumeClaim) -> Seen:
        metadata = claim.metadata
        mates = self._pods.by_index(BY_NAMESPACE, metadata.namespace)
        return Seen(
            claim=claim,
            volumes=self._volumes.values(),
            classes={each.metadata.name: each for each in self._classes.values()},
            pods=tuple(pod for pod in mates if metadata.name in claims_of(pod) and not pod.finished),
            nodes=tuple(sorted(node.metadata.name for node in self._nodes.values() if not node.spec.unschedulable)),
        )

    async def _bind(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """First the volume, so that no two claims take it; the revision makes sure that it is as we saw it."""
        patch = drafts.volume_binding(claim, volume)
        if patch is not None:
            await self._patch(PERSISTENT_VOLUMES, volume.metadata, patch)
        patch = drafts.claim_binding(claim, volume)
        metadata = claim.metadata
        if patch is not None:
            await self._client.patch(PERSISTENT_VOLUME_CLAIMS, metadata.name, patch, namespace=metadata.namespace)
            log.info("bound", claim=metadata.key, volume=volume.metadata.name)
        status = drafts.bound_status(volume)
        if (claim.status.phase, dict(claim.status.capacity)) != ("Bound", status["capacity"]):
            await self._status(PERSISTENT_VOLUME_CLAIMS, metadata, status)

    async def _expand(self, claim: PersistentVolumeClaim, volume: PersistentVolume) -> None:
        """The volume first; its change brings another look, which gives the claim's status the new size."""
        metadata, name = claim.metadata, volume.metadata.name
        message = f"External resizer is resizing volume {name}"
        await self._say(PERSISTENT_VOLUME_CLAIMS, metadata, Said("Normal", "Resizing", message))
        await self._patch(PERSISTENT_VOLUMES, volume.metadata, drafts.expanded(claim))
        log.info("expanded", claim=metadata.key, volume=name)
        await self._say(
            PERSISTENT_VOLUME_CLAIMS, metadata, Said("Normal", "VolumeResizeSuccessful", "Resize volume succeeded")
        )

    async def _provision(self, claim: PersistentVolumeClaim, provision: Provision) -> None:
        metadata, name = claim.metadata, drafts.volume_name(claim)
        message = f'External provisioner is provisioning volume for claim "{metadata.key}"'
        await self._say(PERSISTENT_VOLUME_CLAIMS, metadata, Said("Normal", "Provisioning", message))
        annotations = drafts.selected(provision.node)
        if not annotations.items() <= dict(metadata.annotations).items():
            patch = {"metadata": {"uid": metadata.uid, "annotations": annotations}}
            await self._client.patch(PERSISTENT_VOLUME_CLAIMS, metadata.name, patch, namespace=metadata.namespace)
        try:
            folder = await self._folders.make(drafts.folder_name(name, metadata.namespace, metadata.name))
        except OSError as error:
            message = f'failed to provision volume with StorageClass "{provision.storage_class.metadata.name}": {error}'
            await self._say(PERSISTENT_VOLUME_CLAIMS, metadata, Said("Warning", "ProvisioningFailed", message))
            raise
        try:
            await self._client.create(PERSISTENT_VOLUMES, drafts.new_volume(claim, provision, folder))
        except AlreadyExists:
            return
        log.info("provisioned", claim=metadata.key, volume=name)
        message = f"Successfully provisioned volume {name}"
        await self._say(PERSISTENT_VOLUME_CLAIMS, metadata, Said("Normal", "ProvisioningSucceeded", message))

    async def _report(self, claim: PersistentVolumeClaim, decided: ClaimPlan) -> None:
        if decided.said is not None:
            await self._say(PERSISTENT_VOLUME_CLAIMS, claim.metadata, decided.said)
        if decided.phase not in ("", "Bound", claim.status.phase):
            await self._status(PERSISTENT_VOLUME_CLAIMS, claim.metadata, {"phase": decided.phase})

    # --- volumes

    async def _volume(self, name: str) -> None:
        volume = self._volumes.get(ObjectKey("", name))
        if volume is None:
            return
        decided = plan_volume(SeenVolume(volume=volume, claim=self._claim_of(volume)))
        if decided.finalizer is not None:
            await self._finalizer(PERSISTENT_VOLUMES, volume.metadata, VOLUME_FINALIZER, wanted=decided.finalizer)
            return
        if decided.phase and decided.phase != volume.status.phase:
            await self._status(
                PERSISTENT_VOLUMES, volume.metadata, {"phase": decided.phase, "message": decided.message or None}
            )
        if decided.said is not None:
            await self._say(PERSISTENT_VOLUMES, volume.metadata, decided.said)
        if decided.unbind:
            await self._unbind(volume)
        if decided.reclaim:
            await self._reclaim(volume, decided)

    def _claim_of(self, volume: PersistentVolume) -> PersistentVolumeClaim | None:
        reference = volume.spec.claim_ref
        if reference is None:
            return None
        claim = self._claims.get(ObjectKey(reference.namespace, reference.name))
        return claim if claim is not None and claim.metadata.uid == reference.uid else None

    async def _unbind(self, volume: PersistentVolume) -> None:
        """Take back what we wrote; a claim that a person named stays, without its uid."""
        ours = BY_CONTROLLER in volume.metadata.annotations
        reference = None if ours else {"uid": None, "resourceVersion": None}
        patch = {"metadata": {"annotations": {BY_CONTROLLER: None}}, "spec": {"claimRef": reference}}
        await self._patch(PERSISTENT_VOLUMES, volume.metadata, patch)

    async def _reclaim(self, volume: PersistentVolume, decided: VolumePlan) -> None:
        """The data first, then the volume: a crash in between repeats, it never forgets data."""
        path, name = volume.spec.host_path.path if volume.spec.host_path else "", volume.metadata.name
        try:
            await self._folders.remove(path)
        except (OSError, ValueError) as error:
            await self._say(PERSISTENT_VOLUMES, volume.metadata, Said("Warning", "VolumeFailedDelete", str(error)))
            await self._status(PERSISTENT_VOLUMES, volume.metadata, {"phase": "Failed", "message": str(error)})
            return
        if VOLUME_FINALIZER in volume.metadata.finalizers:
            await self._client.delete(PERSISTENT_VOLUMES, name, uid=volume.metadata.uid)
            patch = {"metadata": {"finalizers": _without(volume.metadata, VOLUME_FINALIZER)}}
            await self._client.patch(PERSISTENT_VOLUMES, name, patch)
        else:
            await self._client.delete(PERSISTENT_VOLUMES, name, uid=volume.metadata.uid)
        log.info("reclaimed", volume=name)

    # --- writing

    async def _finalizer(self, resource: Resource, metadata: ObjectMeta, name: str, *, wanted: bool) -> None:
        finalizers = [*metadata.finalizers, name] if wanted else _without(metadata, name)
        await self._patch(resource, metadata, {"metadata": {"finalizers": finalizers}})

    async def _patch(self, resource: Resource, metadata: ObjectMeta, patch: Mapping[str, Any]) -> None:
        """Only if nobody changed it since."""
        seen = {"uid": metadata.uid, "resourceVersion": metadata.resource_version}
        body = {**patch, "metadata": {**patch.get("metadata", {}), **seen}}
        await self._client.patch(resource, metadata.name, body, namespace=metadata.namespace)

    async def _status(self, resource: Resource, metadata: ObjectMeta, status: Mapping[str, Any]) -> None:
        body = {"metadata": {"uid": metadata.uid}, "status": status}
        await self._client.patch(resource, metadata.name, body, namespace=metadata.namespace, subresource="status")

    async def _say(self, resource: Resource, metadata: ObjectMeta, said: Said) -> None:
        """Once, not at every look."""
        if self._said.get(metadata.uid) != said:
            self._said[metadata.uid] = said
            await self._events.record(object_reference(resource, metadata), said.type, said.reason, said.message)

    # --- seeing

    def _claim_changed(
        self, key: ObjectKey, old: PersistentVolumeClaim | None, new: PersistentVolumeClaim | None
    ) -> None:
        self.queue.add(key)
        for claim in (old, new):
            if claim is not None and (name := asked(claim).volume_name):
                self.queue.add(ObjectKey("", name))
        if new is None and old is not None:
            self._said.pop(old.metadata.uid, None)

    def _volume_changed(self, key: ObjectKey, old: PersistentVolume | None, new: PersistentVolume | None) -> None:
        self.queue.add(key)
        reference = (new or old or PersistentVolume()).spec.claim_ref
        if reference is not None:
            self.queue.add(ObjectKey(reference.namespace, reference.name))
        if new is not None and new.status.phase == "Available":
            self._pending_again()

    def _pod_changed(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        for pod in (old, new):
            for name in claims_of(pod) if pod is not None else ():
                self.queue.add(ObjectKey(key.namespace, name))

    def _pending_again(self) -> None:
        for claim in self._claims.values():
            if claim.status.phase != "Bound":
                self.queue.add(claim.metadata.key)


def _without(metadata: ObjectMeta, finalizer: str) -> list[str]:
    return [name for name in metadata.finalizers if name != finalizer]


async def run(client: ApiClient, caches: Caches, clock: Clock, *, volumes_dir: Path) -> None:
    """Control until cancelled; the caches must be synced. Folders of new volumes are made below `volumes_dir`."""
    volumes = Reflector(client, PERSISTENT_VOLUMES, PersistentVolume, clock)
    classes = Reflector(client, STORAGE_CLASSES, StorageClass, clock)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(volumes, classes))
        await wait_synced(volumes, classes)
        try:
            await client.create(STORAGE_CLASSES, drafts.default_class())
        except AlreadyExists:
            pass
        controller = VolumeController(client, caches, volumes, classes, clock, Folders(volumes_dir))
        tasks.create_task(run_keyed(ROOM, controller.queue, controller.reconcile))
