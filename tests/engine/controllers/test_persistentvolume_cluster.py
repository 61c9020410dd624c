"""Claims and volumes against a real API server, with real folders."""

from pathlib import Path
from typing import Any

from controllers_world import Cluster, cluster

from fairway.kube.api.resource import PERSISTENT_VOLUME_CLAIMS, PERSISTENT_VOLUMES, PODS, STORAGE_CLASSES

Raw = dict[str, Any]


def claim(name: str = "data", **spec: Any) -> Raw:
    wanted = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "10Mi"}}, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": wanted}


def pod(*claims: str) -> Raw:
    volumes = [{"name": name, "persistentVolumeClaim": {"claimName": name}} for name in claims]
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "user", "namespace": "default"},
        "spec": {"volumes": volumes, "containers": [{"name": "c", "image": "busybox"}]},
    }


def phase(found: Raw | None) -> str:
    return str(found and found.get("status", {}).get("phase"))


async def bound(world: Cluster, name: str = "data") -> Raw:
    found: Raw = await world.until(
        lambda: world.get(PERSISTENT_VOLUME_CLAIMS, name), lambda found: phase(found) == "Bound", f"{name} bound"
    )
    return found


async def test_the_default_class_makes_a_folder_with_the_first_consumer_and_ends_it_with_the_claim(
    tmp_path: Path,
) -> None:
    async with cluster(tmp_path) as world:
        await world.until(lambda: world.get(STORAGE_CLASSES, "local-path"), bool)
        made = await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim())
        assert made["spec"]["storageClassName"] == "local-path"
        waiting = "waiting for first consumer to be created before binding"
        await world.until(lambda: world.messages("WaitForFirstConsumer"), lambda found: waiting in found)
        await world.client.create(PODS, pod("data"))
        found = await bound(world)
        name = f"pvc-{made['metadata']['uid']}"
        assert found["spec"]["volumeName"] == name
        assert found["status"]["capacity"] == {"storage": "10Mi"}
        assert found["status"]["accessModes"] == ["ReadWriteOnce"]
        assert found["metadata"]["annotations"]["volume.kubernetes.io/selected-node"] == "fairway"
        made_it = f"Successfully provisioned volume {name}"
        await world.until(lambda: world.messages("ProvisioningSucceeded"), lambda found: made_it in found)
        volume = await world.until(lambda: world.get(PERSISTENT_VOLUMES, name), lambda found: phase(found) == "Bound")
        folder = Path(volume["spec"]["hostPath"]["path"])
        assert folder == tmp_path / "volumes" / f"{name}_default_data"
        (folder / "file").write_text("kept")
        grown = {"spec": {"resources": {"requests": {"storage": "20Mi"}}}}
        await world.client.patch(PERSISTENT_VOLUME_CLAIMS, "data", grown, namespace="default")
        await world.until(
            lambda: world.get(PERSISTENT_VOLUME_CLAIMS, "data"),
            lambda found: found["status"]["capacity"] == {"storage": "20Mi"},
            "the claim has grown",
        )
        volume = await world.get(PERSISTENT_VOLUMES, name)
        assert volume is not None and volume["spec"]["capacity"] == {"storage": "20Mi"}
        await world.until(
            lambda: world.messages("VolumeResizeSuccessful"), lambda found: "Resize volume succeeded" in found
        )
        await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")
        leaving = await world.get(PERSISTENT_VOLUME_CLAIMS, "data")
        assert leaving is not None and leaving["metadata"]["finalizers"] == ["kubernetes.io/pvc-protection"]
        assert (folder / "file").exists()
        await world.client.delete(PODS, "user", namespace="default")
        await world.until(lambda: world.get(PERSISTENT_VOLUMES, name), lambda found: found is None, "volume gone")
        assert await world.get(PERSISTENT_VOLUME_CLAIMS, "data") is None
        assert not folder.exists()


async def test_retain_keeps_the_volume_and_its_data(tmp_path: Path) -> None:
    kept = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": "kept"},
        "provisioner": "fairway.dev/local-path",
        "reclaimPolicy": "Retain",
    }
    async with cluster(tmp_path) as world:
        await world.client.create(STORAGE_CLASSES, kept)
        await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName="kept"))
        found = await bound(world)
        name = found["spec"]["volumeName"]
        await world.client.delete(PERSISTENT_VOLUME_CLAIMS, "data", namespace="default")
        volume = await world.until(
            lambda: world.get(PERSISTENT_VOLUMES, name), lambda found: phase(found) == "Released"
        )
        assert Path(volume["spec"]["hostPath"]["path"]).is_dir()
        await world.client.delete(PERSISTENT_VOLUMES, name)
        await world.until(lambda: world.get(PERSISTENT_VOLUMES, name), lambda found: found is None)
        assert Path(volume["spec"]["hostPath"]["path"]).is_dir()


async def test_a_volume_made_by_hand_serves_one_claim(tmp_path: Path) -> None:
    def volume(name: str, size: str) -> Raw:
        spec = {"capacity": {"storage": size}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": "/data"}}
        return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": name}, "spec": spec}

    async with cluster(tmp_path) as world:
        await world.client.create(PERSISTENT_VOLUMES, volume("small", "20Mi"))
        await world.client.create(PERSISTENT_VOLUMES, volume("large", "1Gi"))
        await world.until(lambda: world.get(PERSISTENT_VOLUMES, "large"), lambda found: phase(found) == "Available")
        await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim(storageClassName=""))
        assert (await bound(world))["spec"]["volumeName"] == "small"
        await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim("more", storageClassName=""))
        assert (await bound(world, "more"))["spec"]["volumeName"] == "large"
        await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim("none", storageClassName=""))
        nothing = "no persistent volumes available for this claim and no storage class is set"
        await world.until(lambda: world.messages("FailedBinding"), lambda found: nothing in found)


async def test_a_hundred_claims_share_no_volume(tmp_path: Path) -> None:
    async with cluster(tmp_path) as world:
        await world.until(lambda: world.get(STORAGE_CLASSES, "local-path"), bool)
        names = [f"c{number}" for number in range(100)]
        for name in names:
            await world.client.create(PERSISTENT_VOLUME_CLAIMS, claim(name))
        await world.client.create(PODS, pod(*names))
        found = [await bound(world, name) for name in names]
        assert len({each["spec"]["volumeName"] for each in found}) == 100
