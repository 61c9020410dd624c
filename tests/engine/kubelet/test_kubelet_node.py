"""Pods on a real node: namespaces, images, network, mounts and probes; only the API server is in memory."""

import asyncio
import hashlib
import json
import signal
import tarfile
from pathlib import Path

import msgspec
import pytest
from kubelet_world import SECONDS, World, api, container, ready, restarts

from fairway.engine.kubelet.images import ImageService
from fairway.engine.kubelet.volumes import SystemMounts
from fairway.kube.api.resource import CONFIG_MAPS, PODS, SECRETS
from fairway.toolkit.http_client import HttpClient, unix_connector
from fairway.toolkit.oci.archive import import_archive
from fairway.toolkit.oci.reference import parse

pytestmark = pytest.mark.real

PROGRAM = "trap 'echo bye; exit 0' TERM; httpd -f -p 8080 -h /site & while :; do sleep 1 & wait $!; done"
PATIENT = {"periodSeconds": 1, "timeoutSeconds": 60}  # on a busy machine even `test` may take more than a second
LIVENESS = {"exec": {"command": ["test", "-e", "/site/index.html"]}, "failureThreshold": 1, **PATIENT}
WEB = {
    "name": "web",
    "image": "busybox",
    "imagePullPolicy": "IfNotPresent",
    "command": ["sh", "-c", PROGRAM],
    "ports": [{"name": "http", "containerPort": 8080}],
    "env": [
        {"name": "POD", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}},
        {"name": "GREETING", "value": "hello"},
        {"name": "BOTH", "value": "$(GREETING) $(POD)"},
    ],
    "readinessProbe": {"httpGet": {"path": "/index.html", "port": "http"}, **PATIENT},
    "livenessProbe": LIVENESS,
    "volumeMounts": [
        {"name": "site", "mountPath": "/site"},
        {"name": "config", "mountPath": "/config"},
        {"name": "config", "mountPath": "/one.txt", "subPath": "one.txt"},
        {"name": "secret", "mountPath": "/secret"},
    ],
    "resources": {"limits": {"memory": "64Mi", "cpu": "500m"}},
}
BUILDER = {
    "name": "builder",
    "image": "busybox",
    "imagePullPolicy": "IfNotPresent",
    "command": ["sh", "-c", "echo built > /site/index.html"],
    "volumeMounts": [{"name": "site", "mountPath": "/site"}],
}
VOLUMES = [
    {"name": "site", "emptyDir": {"medium": "Memory"}},
    {"name": "config", "configMap": {"name": "config"}},
    {"name": "secret", "secret": {"secretName": "secret"}},
]


def save_image(root: Path, archive: Path) -> None:
    """A root folder as an image archive in Docker's format."""
    layer = archive.with_suffix(".layer")
    with tarfile.open(layer, "w") as tar:
        tar.add(root, ".")
    digest = "sha256:" + hashlib.sha256(layer.read_bytes()).hexdigest()
    config = {"architecture": "amd64", "os": "linux", "config": {"Env": ["PATH=/bin"], "Cmd": ["sh"]}}
    config["rootfs"] = {"type": "layers", "diff_ids": [digest]}
    files = {"config.json": config, "manifest.json": [{"Config": "config.json", "Layers": ["layer.tar"]}]}
    with tarfile.open(archive, "w") as tar:
        tar.add(layer, "layer.tar")
        for name, content in files.items():
            path = archive.with_suffix(f".{name}")
            path.write_text(json.dumps(content))
            tar.add(path, name)


async def real_world(node, client) -> World:
    world = World(client, node.folder)
    world.config = msgspec.structs.replace(world.config, run_dir=node.run_dir, zygote_socket=node.socket)
    world.runtime, world.network, world.mounts = node.runtime, node.network, SystemMounts()
    world.images = ImageService(world.config.state_dir)
    archive = node.folder / "busybox.tar"
    save_image(node.image, archive)
    import_archive(world.images.store, archive, parse("busybox"), lambda text: None)
    for resource, kind, data in (
        (CONFIG_MAPS, "ConfigMap", {"one.txt": "1"}),
        (SECRETS, "Secret", {"key": "c2VjcmV0"}),
    ):
        body = {"apiVersion": "v1", "kind": kind, "metadata": {"name": kind.lower().removesuffix("map")}, "data": data}
        body["metadata"]["namespace"] = "default"
        await client.create(resource, body)
    return world


async def output(world: World, query: str = "") -> str:
    async with HttpClient(unix_connector(world.config.server_socket), host_header="kubelet") as http:
        response = await http.request("GET", f"/containerLogs/default/web/web?{query}")
        return (await response.read()).decode()


def test_a_whole_pod(node):
    async def body(node):
        async with api(node.folder) as client:
            world = await real_world(node, client)
            async with world.kubelet():
                await world.create(containers=[WEB], initContainers=[BUILDER], volumes=VOLUMES)
                pod = await world.until(ready)
                ip = pod["status"]["podIP"]
                assert ip.startswith("10.42.")
                reader, writer = await asyncio.open_connection(ip, 8080)
                writer.write(b"GET /index.html HTTP/1.0\r\n\r\n")
                assert b"built" in await reader.read()
                writer.close()
                name = container(pod, "web")["containerID"].removeprefix("fairway://")

                async def tell(*command: str) -> str:
                    return (await node.runtime.exec(name, command)).stdout.decode().strip()

                assert await tell("sh", "-c", "echo $BOTH") == "hello web"
                assert await tell("cat", "/config/one.txt") == await tell("cat", "/one.txt") == "1"
                assert await tell("cat", "/secret/key") == "secret"
                assert await tell("hostname") == "web"
                assert "nameserver 10.96.0.10" in await tell("cat", "/etc/resolv.conf")
                assert f"{ip}\tweb" in await tell("cat", "/etc/hosts")
                await tell("rm", "/site/index.html")
                await world.until_event("Liveness probe failed")
                await world.until(lambda pod: restarts(pod, "web") >= 1)
                assert "bye" in await output(world, "previous=true")
                await client.delete(PODS, "web", namespace="default", grace_period_seconds=5)
                await world.until_gone()
                async with asyncio.timeout(SECONDS):
                    while list((world.config.state_dir / "pods").glob("*")):
                        await asyncio.sleep(0.01)
                assert await node.runtime.list() == await node.runtime.list_sandboxes() == ()
                mounts = Path("/proc/self/mounts").read_text()
                assert "pods/" not in mounts
            await world.images.aclose()

    node(body)


def test_a_killed_engine_adopts_and_the_program_does_not_notice(node):
    async def body(node):
        async with api(node.folder) as client:
            world = await real_world(node, client)
            spec = {"name": "web", "image": "busybox", "imagePullPolicy": "IfNotPresent"}
            spec |= {"command": ["sh", "-c", "trap 'exit 0' TERM; while :; do echo tick; sleep 0.1; done"]}
            async with world.kubelet():
                await world.create(containers=[spec])
                before = await world.until(ready)
            (state,) = await node.runtime.list()
            async with world.kubelet():
                await world.create("second", containers=[spec])
                await world.until(ready, "second")
                after = await world.pod()
                assert state in await node.runtime.list()
                assert before["status"] == after["status"]
                assert "tick\n" in await output(world)
                await node.runtime.signal(state.id, signal.SIGKILL)
                pod = await world.until(lambda pod: restarts(pod, "web") == 1 and ready(pod))
                assert container(pod, "web")["lastState"]["terminated"]["exitCode"] == 137
            await world.images.aclose()

    node(body)
