"""What is written: new volumes, the two halves of a binding, the default class (pure)."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairway.engine.controllers.persistentvolume.plan import (
    BIND_COMPLETED,
    BY_CONTROLLER,
    PROVISIONED_BY,
    PROVISIONER,
    VOLUME_FINALIZER,
    Provision,
)
from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, STORAGE_CLASSES
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import HOSTNAME, SELECTED_NODE, PersistentVolume, asked

Json = dict[str, Any]
DEFAULT_CLASS = "local-path"


def default_class() -> Json:
    """The class that claims get when they name none."""
    return {
        "apiVersion": STORAGE_CLASSES.api_version,
        "kind": STORAGE_CLASSES.kind,
        "metadata": {
            "name": DEFAULT_CLASS,
            "annotations": {"storageclass.kubernetes.io/is-default-class": "true"},
        },
        "provisioner": PROVISIONER,
        "reclaimPolicy": "Delete",
        "volumeBindingMode": "WaitForFirstConsumer",
        "allowVolumeExpansion": True,  # a folder has no size of its own: there is nothing to be grown but the record
    }


def volume_name(claim: PersistentVolumeClaim) -> str:
    """`pvc-<uid>`."""
    return f"pvc-{claim.metadata.uid}"


def folder_name(volume: str, namespace: str, claim: str) -> str:
    """The folder of a volume, named so that people find it."""
    return f"{volume}_{namespace}_{claim}"


def new_volume(claim: PersistentVolumeClaim, provision: Provision, folder: Path) -> Json:
    """A PersistentVolume on a folder of a node, meant for this claim alone."""
    spec, name = asked(claim), volume_name(claim)
    terms = [{"key": HOSTNAME, "operator": "In", "values": [provision.node]}]
    return {
        "apiVersion": "v1",
        "kind": PERSISTENT_VOLUMES.kind,
        "metadata": {
            "name": name,
            "annotations": {PROVISIONED_BY: PROVISIONER},
            "finalizers": [VOLUME_FINALIZER],
        },
        "spec": {
            "accessModes": list(spec.access_modes),
            "capacity": {"storage": spec.resources.requests["storage"]},
            "claimRef": claim_reference(claim.metadata),
            "hostPath": {"path": str(folder), "type": "DirectoryOrCreate"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": terms}]}},
            "persistentVolumeReclaimPolicy": provision.storage_class.reclaim_policy,
            "storageClassName": spec.storage_class_name,
            "volumeMode": spec.volume_mode,
        },
    }


def claim_reference(metadata: ObjectMeta) -> Json:
    """A claim as a volume names it."""
    return {
        "apiVersion": "v1",
        "kind": PERSISTENT_VOLUME_CLAIMS.kind,
        "namespace": metadata.namespace,
        "name": metadata.name,
        "uid": metadata.uid,
        "resourceVersion": metadata.resource_version,
    }


def selected(node: str) -> Json:
    """Annotations of a claim whose volume is about to be made."""
    return {SELECTED_NODE: node, "volume.kubernetes.io/storage-provisioner": PROVISIONER}


def volume_binding(claim: PersistentVolumeClaim, volume: PersistentVolume) -> Mapping[str, Any] | None:
    """A patch that makes a volume name the claim; None when it does."""
    reference = volume.spec.claim_ref
    if reference is not None and reference.uid == claim.metadata.uid:
        return None
    body: Json = {"spec": {"claimRef": claim_reference(claim.metadata)}}
    if reference is None:
        body["metadata"] = {"annotations": {BY_CONTROLLER: "yes"}}
    return body


def expanded(claim: PersistentVolumeClaim) -> Json:
    """A patch that gives a volume the size that its claim asks for."""
    return {"spec": {"capacity": {"storage": asked(claim).resources.requests["storage"]}}}


def claim_binding(claim: PersistentVolumeClaim, volume: PersistentVolume) -> Mapping[str, Any] | None:
    """A patch that makes a claim name the volume; None when it does."""
    named = asked(claim).volume_name
    if named == volume.metadata.name and BIND_COMPLETED in claim.metadata.annotations:
        return None
    annotations = {BIND_COMPLETED: "yes", **({} if named else {BY_CONTROLLER: "yes"})}
    return {"metadata": {"annotations": annotations}, "spec": {"volumeName": volume.metadata.name}}


def bound_status(volume: PersistentVolume) -> Json:
    """What a bound claim shows."""
    return {
        "phase": "Bound",
        "accessModes": list(volume.spec.access_modes),
        "capacity": {"storage": volume.spec.capacity.get("storage", "0")},
    }
