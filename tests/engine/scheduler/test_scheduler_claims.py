"""What claims have against scheduling a pod, as a table; and one pod that waits for its claim."""

from pathlib import Path
from typing import Any

import pytest
from controllers_world import cluster

from fairway.engine.scheduler.claims import message, obstacle
from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod, PodSpec, Volume
from fairway.kube.api.resource import PERSISTENT_VOLUME_CLAIMS, PODS
from fairway.kube.api.statefulsets import PersistentVolumeClaim
from fairway.kube.api.storage import StorageClass

CLASSES = {
    "late": StorageClass(volume_binding_mode="WaitForFirstConsumer"),
    "soon": StorageClass(volume_binding_mode="Immediate"),
}


def pod(uid: str = "p", node: str = "") -> Pod:
    source = Volume(name="v", persistent_volume_claim={"claimName": "data"})
    return Pod(metadata=ObjectMeta(name=uid, uid=uid), spec=PodSpec(volumes=(source,), node_name=node))


def claim(phase: str = "Pending", **spec: Any) -> PersistentVolumeClaim:
    raw = {"metadata": {"name": "data"}, "spec": {"storageClassName": "soon", **spec}, "status": {"phase": phase}}
    return decode(PersistentVolumeClaim, raw)


@pytest.mark.parametrize(
    ("found", "neighbours", "expected"),
    [
        pytest.param(None, (), 'persistentvolumeclaim "data" not found', id="absent"),
        pytest.param(claim(), (), "pod has unbound immediate PersistentVolumeClaims", id="immediate"),
        pytest.param(claim(storageClassName="late"), (), "", id="this pod is the first consumer"),
        pytest.param(claim("Bound", volumeName="v"), (), "", id="bound"),
        pytest.param(
            claim("Lost", volumeName="v"),
            (),
            'persistentvolumeclaim "data" bound to non-existent persistentvolume "v"',
            id="lost",
        ),
        pytest.param(
            claim("Bound", volumeName="v", accessModes=["ReadWriteOncePod"]),
            (pod("other", "n"),),
            "node has pod using PersistentVolumeClaim with the same name and ReadWriteOncePod access mode",
            id="alone",
        ),
        pytest.param(claim("Bound", volumeName="v"), (pod("other", "n"),), "", id="shared"),
    ],
)
def test_obstacles(found: PersistentVolumeClaim | None, neighbours: tuple[Pod, ...], expected: str) -> None:
    assert obstacle(pod(), {"data": found} if found else {}, CLASSES, neighbours) == expected


def test_words() -> None:
    assert message("x", 1) == (
        "0/1 nodes are available: x. preemption: 0/1 nodes are available: 1 Preemption is not helpful for scheduling."
    )


async def test_a_pod_waits_for_its_claim(tmp_path: Path) -> None:
    volumes = [{"name": "v", "persistentVolumeClaim": {"claimName": "data"}}]
    body = {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "user", "namespace": "default"},
        "spec": {"volumes": volumes, "containers": [{"name": "c", "image": "busybox"}]},
    }
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    made = {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": {"name": "data", "namespace": "default"},
        "spec": {**wanted, "storageClassName": "local-path"},
    }
    async with cluster(tmp_path) as world:
        await world.client.create(PODS, body)
        words = 'persistentvolumeclaim "data" not found'
        await world.until(
            lambda: world.messages("FailedScheduling"), lambda found: any(words in each for each in found)
        )
        await world.client.create(PERSISTENT_VOLUME_CLAIMS, made)
        await world.until(lambda: world.get(PODS, "user"), lambda found: found and found["spec"].get("nodeName"))
