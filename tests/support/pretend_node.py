"""A node that only says that its pods run: for clients that want to see pods, where no container is needed."""

import asyncio
import itertools
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from fairway.kube.api import resource
from fairway.kube.api.meta import timestamp
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError

NODE = "pretend"
_POD = {"app": "pretend"}
_HEARTBEAT_SECONDS = 10


async def run(client: ApiClient) -> None:
    """Until cancelled: bind pods, report them as running and ready, let go of those that are deleted."""
    addresses = (f"10.99.{number >> 8}.{number & 255}" for number in itertools.count(1))
    now = timestamp(datetime.now(UTC))
    labels = {"kubernetes.io/hostname": NODE}
    spec = {"podCIDR": "10.99.0.0/16", "podCIDRs": ["10.99.0.0/16"], "taints": []}
    await _create(client, resource.NODES, {"metadata": {"name": NODE, "labels": labels}, "spec": spec})
    ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": now}
    await client.patch(resource.NODES, NODE, {"status": {"conditions": [ready]}}, subresource="status")
    container = {"name": "pause", "image": "pause"}
    pod = {
        "metadata": {"name": "pretend", "namespace": "kube-system", "labels": _POD},
        "spec": {"containers": [container]},
    }
    await _create(client, resource.PODS, pod)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stay_alive(client))
        tasks.create_task(_settle_all(client, addresses))


async def _settle_all(client: ApiClient, addresses: Iterator[str]) -> None:
    listed = await client.list(resource.PODS)
    for found in listed.items:
        await _settle(client, found, addresses)
    async for event in client.watch(resource.PODS, resource_version=listed.resource_version):
        if event.type in ("ADDED", "MODIFIED"):
            await _settle(client, event.object, addresses)


async def stay_alive(client: ApiClient, node: str = NODE) -> None:
    """A node that says nothing for long is tainted as unreachable."""
    spec = {"holderIdentity": node, "leaseDurationSeconds": 40}
    await _create(client, resource.LEASES, {"metadata": {"name": node, "namespace": "kube-node-lease"}, "spec": spec})
    while True:
        renewed = {"spec": {"renewTime": timestamp(datetime.now(UTC)).replace("Z", ".000000Z")}}
        await client.patch(resource.LEASES, node, renewed, namespace="kube-node-lease")
        await asyncio.sleep(_HEARTBEAT_SECONDS)


async def _create(client: ApiClient, kind: resource.Resource, obj: dict[str, Any]) -> None:
    """A service account may have to appear first."""
    for _ in range(1200):
        try:
            await client.create(kind, obj)
        except ApiError as error:
            if error.code == 409:
                return
            await asyncio.sleep(0.05)
        else:
            return


async def _settle(client: ApiClient, pod: dict[str, Any], addresses: Iterator[str]) -> None:
    metadata, spec, status = pod["metadata"], pod["spec"], pod.get("status") or {}
    name, namespace = metadata["name"], metadata["namespace"]
    try:
        if metadata.get("deletionTimestamp"):
            report = {"status": _ended(status)}
            await client.patch(resource.PODS, name, report, namespace=namespace, subresource="status")
            await client.delete(resource.PODS, name, namespace=namespace, grace_period_seconds=0)
        elif not spec.get("nodeName"):
            target = {"metadata": {"name": name}, "target": {"kind": "Node", "name": NODE}}
            await client.create_subresource(resource.PODS, name, "binding", target, namespace=namespace)
        elif status.get("phase") == "Pending":
            report = {"status": _running(spec, next(addresses))}
            await client.patch(resource.PODS, name, report, namespace=namespace, subresource="status")
    except ApiError as error:
        if error.code not in (404, 409):
            raise


def _ended(status: dict[str, Any]) -> dict[str, Any]:
    conditions = [
        condition | ({"status": "False"} if condition["type"] in ("Ready", "ContainersReady") else {})
        for condition in status.get("conditions") or ()
    ]
    return {"conditions": conditions}


def _running(spec: dict[str, Any], address: str) -> dict[str, Any]:
    now = timestamp(datetime.now(UTC))
    conditions = [
        {"type": kind, "status": "True", "lastTransitionTime": now}
        for kind in ("PodScheduled", "Initialized", "ContainersReady", "Ready")
    ]
    containers = [
        {
            "name": container["name"],
            "image": container["image"],
            "imageID": "",
            "containerID": f"pretend://{container['name']}",
            "ready": True,
            "started": True,
            "restartCount": 0,
            "state": {"running": {"startedAt": now}},
        }
        for container in spec["containers"]
    ]
    return {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": containers,
    }
