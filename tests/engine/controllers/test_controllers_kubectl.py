"""What `kubectl rollout`, `scale` and `get` say about Deployments."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
from controllers_world import Cluster

pytestmark = pytest.mark.real
Kubectl = Callable[..., Awaitable[str]]


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except OSError:
        pass
    finally:
        writer.close()


@pytest.fixture
async def kubectl(cluster: Cluster, tmp_path: Path) -> AsyncIterator[Kubectl]:
    """kubectl through a plain TCP port, which leads to the API's Unix socket."""
    binary = shutil.which("kubectl")
    assert binary, "kubectl is not installed"

    async def bridge(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner, outer = await asyncio.open_unix_connection(tmp_path / "api.sock")
        await asyncio.gather(_pump(reader, outer), _pump(inner, writer))

    server = await asyncio.start_server(bridge, "127.0.0.1", 0)
    url = "http://{}:{}".format(*server.sockets[0].getsockname())

    async def call(*arguments: str) -> str:
        command = (binary, "--server", url, "--cache-dir", str(tmp_path / "cache"), *arguments)
        process = await asyncio.create_subprocess_exec(
            *command,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={"HOME": str(tmp_path), "PATH": "/usr/bin:/bin", "KUBECONFIG": str(tmp_path / "none")},
        )
        async with asyncio.timeout(60):
            output, _ = await process.communicate()
        assert process.returncode == 0, output.decode()
        return output.decode()

    yield call
    server.close()
    await server.wait_closed()


async def test_rollouts(cluster: Cluster, kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in await kubectl(
        "create", "deployment", "web", "--image=nginx:1", "--replicas=2"
    )
    assert 'deployment "web" successfully rolled out' in await kubectl("rollout", "status", "deployment/web")
    await kubectl("set", "image", "deployment/web", "nginx=nginx:2")
    await kubectl("annotate", "deployment/web", "kubernetes.io/change-cause=second")
    await kubectl("rollout", "status", "deployment/web")

    async def history() -> list[list[str]]:
        lines = (await kubectl("rollout", "history", "deployment/web")).splitlines()
        return [line.split() for line in lines if line[:1].isdigit()]

    await cluster.until(history, lambda rows: rows == [["1", "<none>"], ["2", "second"]], "history")
    assert "nginx:1" in await kubectl("rollout", "history", "deployment/web", "--revision=1")
    assert "rolled back" in await kubectl("rollout", "undo", "deployment/web")
    await kubectl("rollout", "status", "deployment/web")
    assert [row[0] for row in await history()] == ["2", "3"]
    await kubectl("rollout", "restart", "deployment/web")
    await kubectl("rollout", "status", "deployment/web")
    await kubectl("scale", "deployment/web", "--replicas=3")
    await kubectl("wait", "deployment/web", "--for=jsonpath={.status.availableReplicas}=3", "--timeout=60s")
    table = (await kubectl("get", "deployments")).splitlines()
    assert table[0].split() == ["NAME", "READY", "UP-TO-DATE", "AVAILABLE", "AGE"]
    assert table[1].split()[:4] == ["web", "3/3", "3", "3"]
    assert "STATUS" in await kubectl("get", "pods", "-o", "wide")
    described = await kubectl("describe", "deployment", "web")
    assert "NewReplicaSetAvailable" in described
    assert "ScalingReplicaSet" in described
