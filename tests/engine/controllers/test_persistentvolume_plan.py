"""What becomes of claims and volumes, as tables."""

from datetime import UTC, datetime
from typing import Any

import pytest

from fairway.engine.controllers.persistentvolume.plan import (
    BIND_COMPLETED,
    CLAIM_FINALIZER,
    PROVISIONED_BY,
    PROVISIONER,
    VOLUME_FINALIZER,
    plan_claim,
    plan_volume,
)
from fairway.engine.controllers.persistentvolume.snapshot import Seen, SeenVolume
from fairway.kube.api.meta import ObjectMeta, ObjectReference
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod, PodSpec, Volume
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import PersistentVolume, StorageClass

NOW = datetime(2026, 1, 1, tzinfo=UTC)
LATE = StorageClass(
    metadata=ObjectMeta(name="late"), provisioner=PROVISIONER, volume_binding_mode="WaitForFirstConsumer"
)
SOON = StorageClass(metadata=ObjectMeta(name="soon"), provisioner=PROVISIONER)
OTHER = StorageClass(metadata=ObjectMeta(name="other"), provisioner="example.com/disk")
GROWING = StorageClass(metadata=ObjectMeta(name="growing"), provisioner=PROVISIONER, allow_volume_expansion=True)
CLASSES = {each.metadata.name: each for each in (LATE, SOON, OTHER, GROWING)}
BIGGER = {"resources": {"requests": {"storage": "2Gi"}}, "volumeName": "v"}


def claim(*, bound: bool = False, deleted: bool = False, **spec: Any) -> PersistentVolumeClaim:
    given = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}, "storageClassName": ""}
    return PersistentVolumeClaim(
        metadata=ObjectMeta(
            name="data",
            namespace="n",
            uid="c1",
            finalizers=(CLAIM_FINALIZER,),
            deletion_timestamp=NOW if deleted else None,
            annotations={BIND_COMPLETED: "yes"} if bound else {},
        ),
        spec={**given, **spec},
    )


def volume(name: str = "v", size: str = "1Gi", *, phase: str = "Available", **changes: Any) -> PersistentVolume:
    metadata = ObjectMeta(
        name=name,
        finalizers=(VOLUME_FINALIZER,),
        labels=changes.pop("labels", {}),
        annotations={PROVISIONED_BY: PROVISIONER} if changes.pop("ours", False) else {},
        deletion_timestamp=NOW if changes.pop("deleted", False) else None,
    )
    reference = changes.pop("reference", None)
    spec = {"accessModes": ["ReadWriteOnce", "ReadOnlyMany"], "capacity": {"storage": size}, **changes}
    if reference is not None:
        spec["claimRef"] = {"namespace": "n", "name": "data", "uid": reference}
    return PersistentVolume(
        metadata=metadata,
        spec=decode(PersistentVolume, {"spec": spec}).spec,
        status=decode(PersistentVolume, {"status": {"phase": phase}}).status,
    )


def consumer(node: str = "") -> Pod:
    source = Volume(name="d", persistent_volume_claim={"claimName": "data"})
    return Pod(metadata=ObjectMeta(name="p", namespace="n"), spec=PodSpec(volumes=(source,), node_name=node))


CLAIMS = [
    pytest.param(
        claim(), (volume("big", "9Gi"), volume("fit", "2Gi"), volume("tiny", "1Mi")), (), "bind fit", id="fit"
    ),
    pytest.param(claim(), (volume("v", "9Gi"), volume("mine", reference="")), (), "bind mine", id="reserved first"),
    pytest.param(claim(), (volume(accessModes=["ReadOnlyMany"]),), (), "Normal FailedBinding", id="access mode"),
    pytest.param(claim(), (volume(storageClassName="x"),), (), "Normal FailedBinding", id="class"),
    pytest.param(claim(), (volume(phase="Released"),), (), "Normal FailedBinding", id="released is not free"),
    pytest.param(claim(), (volume(reference="c2"),), (), "Normal FailedBinding", id="of another claim"),
    pytest.param(
        claim(selector={"matchLabels": {"a": "b"}}),
        (volume("no"), volume("yes", labels={"a": "b"})),
        (),
        "bind yes",
        id="selector",
    ),
    pytest.param(claim(storageClassName="gone"), (), (), "Warning ProvisioningFailed", id="no such class"),
    pytest.param(claim(storageClassName="other"), (), (), "Normal ExternalProvisioning", id="another provisioner"),
    pytest.param(claim(storageClassName="soon"), (), (), "provision fairway", id="immediate"),
    pytest.param(claim(storageClassName="late"), (), (), "Normal WaitForFirstConsumer", id="nobody uses it"),
    pytest.param(claim(storageClassName="late"), (), (consumer(),), "Normal WaitForPodScheduled", id="not scheduled"),
    pytest.param(claim(storageClassName="late"), (), (consumer("node1"),), "provision node1", id="first consumer"),
    pytest.param(claim(storageClassName="soon", volumeMode="Block"), (), (), "Warning ProvisioningFailed", id="block"),
    pytest.param(claim(volumeName="v"), (), (), "Pending", id="wanted volume is not there"),
    pytest.param(claim(volumeName="v"), (volume(),), (), "bind v", id="wanted volume"),
    pytest.param(claim(volumeName="v"), (volume(size="1Mi"),), (), "Warning VolumeMismatch", id="wanted: too small"),
    pytest.param(claim(volumeName="v"), (volume(reference="x"),), (), "Warning FailedBinding", id="wanted: taken"),
    pytest.param(claim(bound=True, volumeName="v"), (), (), "Warning ClaimLost", id="lost"),
    pytest.param(
        claim(bound=True, volumeName="v"), (volume(reference="x"),), (), "Warning ClaimMisbound", id="misbound"
    ),
    pytest.param(claim(bound=True, volumeName="v"), (volume(reference="c1"),), (), "bind v", id="bound: keep it true"),
    pytest.param(
        claim(bound=True, storageClassName="growing", **BIGGER),
        (volume(reference="c1", ours=True),),
        (),
        "expand v",
        id="grows",
    ),
    pytest.param(
        claim(bound=True, storageClassName="growing", **BIGGER),
        (volume(size="2Gi", reference="c1", ours=True),),
        (),
        "bind v",
        id="has grown",
    ),
    pytest.param(
        claim(bound=True, storageClassName="soon", **BIGGER),
        (volume(reference="c1", ours=True),),
        (),
        "bind v",
        id="class does not let it grow",
    ),
    pytest.param(
        claim(bound=True, storageClassName="growing", **BIGGER),
        (volume(reference="c1"),),
        (),
        "bind v",
        id="not ours to grow",
    ),
    pytest.param(claim(deleted=True), (), (consumer(),), "", id="deleted but in use"),
    pytest.param(claim(deleted=True), (), (), "let go", id="deleted"),
]


@pytest.mark.parametrize(("claim", "volumes", "pods", "expected"), CLAIMS)
def test_claims(
    claim: PersistentVolumeClaim, volumes: tuple[PersistentVolume, ...], pods: tuple[Pod, ...], expected: str
) -> None:
    plan = plan_claim(Seen(claim=claim, volumes=volumes, classes=CLASSES, pods=pods, nodes=("fairway",)))
    said = ""
    if plan.bind is not None:
        said = f"bind {plan.bind.metadata.name}"
    elif plan.expand is not None:
        said = f"expand {plan.expand.metadata.name}"
    elif plan.provision is not None:
        said = f"provision {plan.provision.node}"
    elif plan.said is not None:
        said = f"{plan.said.type} {plan.said.reason}"
    elif plan.finalizer is False:
        said = "let go"
    else:
        said = plan.phase
    assert said == expected


VOLUMES = [
    pytest.param(volume(phase=""), None, "Available", id="free"),
    pytest.param(volume(reference=""), None, "Available", id="reserved by name"),
    pytest.param(volume(reference="c1"), claim(bound=True, volumeName="v"), "Bound", id="bound"),
    pytest.param(volume(reference="c1"), claim(), "", id="the claim will take it"),
    pytest.param(volume(reference="c1"), None, "Released", id="retained"),
    pytest.param(
        volume(reference="c1", persistentVolumeReclaimPolicy="Delete", ours=True), None, "Released reclaim", id="ours"
    ),
    pytest.param(
        volume(reference="c1", persistentVolumeReclaimPolicy="Delete"), None, "Failed", id="made by hand, cannot delete"
    ),
    pytest.param(
        volume(reference="c1", persistentVolumeReclaimPolicy="Recycle"), None, "Failed", id="recycling is no more"
    ),
    pytest.param(volume(reference="c1"), claim(volumeName="w", bound=True), "Available unbind", id="bound elsewhere"),
    pytest.param(volume(deleted=True), None, " let go", id="deleted"),
    pytest.param(
        volume(deleted=True, phase="Bound", reference="c1"), claim(bound=True, volumeName="v"), "", id="deleted in use"
    ),
]


@pytest.mark.parametrize(("volume", "claim", "expected"), VOLUMES)
def test_volumes(volume: PersistentVolume, claim: PersistentVolumeClaim | None, expected: str) -> None:
    plan = plan_volume(SeenVolume(volume=volume, claim=claim))
    extra = [" reclaim"] * plan.reclaim + [" unbind"] * plan.unbind + [" let go"] * (plan.finalizer is False)
    assert plan.phase + "".join(extra) == expected


def test_a_volume_that_names_a_claim_by_uid_alone_is_nobody_elses() -> None:
    taken = volume(reference="c2")
    assert taken.spec.claim_ref == ObjectReference(namespace="n", name="data", uid="c2")
