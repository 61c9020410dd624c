"""The limits of a running container are changed where the kernel keeps them."""

import asyncio
import os
from pathlib import Path

import patience
import pytest

from fairway.engine.kubelet.runtime import cgroups
from fairway.engine.kubelet.runtime.errors import LimitRefused
from fairway.engine.kubelet.runtime.model import Limits

pytestmark = pytest.mark.real


def test_limits_grow_and_shrink_while_it_runs(node):
    async def body(node):
        layout = cgroups.Layout()
        name = f"fairway-test-{os.getpid()}-{node.folder.name}/c"
        limits = {"memory_limit_bytes": 64 << 20, "cpu_quota_us": 50_000, "cpu_shares": 102}
        shared = (64 << 20, 50_000, 102, None)
        await node.runtime.start(node.spec("c", "sleep", "1000", cgroup=name, pod_limits=shared, **limits))
        for megabytes, quota in ((256, 100_000), (32, 20_000)):
            wanted = Limits(memory_bytes=megabytes << 20, cpu_quota_us=quota, cpu_shares=204)
            await node.runtime.resize("c", wanted, wanted)
            changed = cgroups.Limits(megabytes << 20, quota, 204, None)
            for folder in layout.folders(name):
                for each, whole in ((folder, False), (os.path.dirname(folder), True)):
                    files = changed.files(layout.unified, shared=whole)
                    there = {file: value for file, value in files if (Path(each) / file).exists()}
                    assert {file: (Path(each) / file).read_text().strip() for file in there} == there

    node(body)


def test_memory_that_is_in_use_is_not_taken_away(node):
    async def body(node):
        layout = cgroups.Layout()
        if "memory" not in layout.enforced:
            return
        group = {"cgroup": f"fairway-test-{os.getpid()}-{node.folder.name}/c", "memory_limit_bytes": 96 << 20}
        script = "head -c 30m /dev/zero > /dev/shm/held; echo holds; exec sleep 1000"
        await node.runtime.create_sandbox("s", "pod")
        await node.runtime.start(node.spec("c", "sh", "-c", script, sandbox="s", **group))
        async with asyncio.timeout(patience.seconds(60)):
            while "holds" not in node.log("c"):
                await asyncio.sleep(0.01)
        less, enough = (Limits(memory_bytes=megabytes << 20, cpu_shares=102) for megabytes in (16, 64))
        if layout.unified:  # version 1 swaps or gives back what it can, and takes the limit if that is enough
            with pytest.raises(LimitRefused, match=r"memory\.max"):
                await node.runtime.resize("c", less, enough)
        await node.runtime.resize("c", enough, enough)
        (state,) = await node.runtime.list()
        assert state.status == "running"

    node(body)
