"""The limits of a running container are changed where the kernel keeps them."""

import os
from pathlib import Path

import pytest

from fairway.engine.kubelet.runtime import cgroups
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
            files = cgroups.Limits(megabytes << 20, quota, 204, None).files(layout.unified)
            for folder in layout.folders(name):
                for each in (folder, os.path.dirname(folder)):
                    there = {file: value for file, value in files if (Path(each) / file).exists()}
                    assert {file: (Path(each) / file).read_text().strip() for file in there} == there

    node(body)
