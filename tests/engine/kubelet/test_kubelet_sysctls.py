"""Settings of the kernel that pods ask for: the safe ones are made, the others end the pod before it begins."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from kubelet_world import World, api

from fairway.engine.kubelet import sysctls
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import PODS


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    async with api(tmp_path) as client:
        yield World(client, tmp_path)


def pod(*names: str, host_network: bool = False) -> Pod:
    asked = [{"name": name, "value": "1"} for name in names]
    spec = {"containers": [], "hostNetwork": host_network, "securityContext": {"sysctls": asked}}
    return decode(Pod, {"metadata": {"name": "p"}, "spec": spec})


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (pod(), ""),
        (pod("net.ipv4.tcp_syncookies", "kernel.shm_rmid_forced"), ""),
        (pod("net/ipv4/tcp_fin_timeout"), ""),
        (pod("net.core.somaxconn"), 'forbidden sysctl: "net.core.somaxconn" not allowlisted'),
        (pod("kernel.msgmax"), 'forbidden sysctl: "kernel.msgmax" not allowlisted'),
        (
            pod("net.ipv4.tcp_syncookies", host_network=True),
            'forbidden sysctl: "net.ipv4.tcp_syncookies" not allowed with host net enabled',
        ),
    ],
)
def test_what_a_node_takes(asked: Pod, why: str) -> None:
    assert sysctls.forbidden(asked) == why


async def test_a_pod_that_asks_too_much_is_rejected(world: World) -> None:
    async with world.kubelet():
        asked = {"sysctls": [{"name": "net.core.somaxconn", "value": "1024"}]}
        await world.create("greedy", securityContext=asked)
        found = await world.until(lambda pod: pod["status"]["phase"] == "Failed", "greedy")
        assert found["status"]["reason"] == "SysctlForbidden"
        assert found["status"]["message"] == 'Pod was rejected: forbidden sysctl: "net.core.somaxconn" not allowlisted'
        assert "DisruptionTarget" not in [each["type"] for each in found["status"]["conditions"]]
        await world.until_event('Warning SysctlForbidden: forbidden sysctl: "net.core.somaxconn" not allowlisted')
        assert not world.runtime.sandboxes
        await world.client.delete(PODS, "greedy", namespace="default")
        await world.until_gone("greedy")
