"""A cluster with each runtime: a pod runs, is executed into, and ends."""

import time
from pathlib import Path

import cluster
import pytest
import shared

pytestmark = pytest.mark.real


@pytest.mark.parametrize("runtime", ["native", "crun", "runc"])
def test_a_cluster_runs_pods_by_each_runtime(tmp_path: Path, runtime: str) -> None:
    made = cluster.new(tmp_path / "state")
    shared.bases(made.state_dir, "busybox")
    made.flags = (*made.flags, "--runtime", runtime)
    made.start()
    try:
        made.kubectl(
            "run", "web", "--image=busybox", "--restart=Never", "--", "sh", "-c", "echo hello; exec sleep 1000"
        )
        made.kubectl("wait", "pod/web", "--for=condition=Ready", "--timeout=60s")
        assert made.kubectl("exec", "web", "--", "hostname") == "web\n"
        deadline = time.monotonic() + 60
        while (said := made.kubectl("logs", "web")) != "hello\n":
            assert said == "" and time.monotonic() < deadline, said
        made.kubectl("delete", "pod", "web", "--grace-period=1")
        chosen = "native" if runtime == "native" else f"/{runtime}"
        assert any("did=chose" in line and line.rstrip().endswith(chosen) for line in made.log(10_000_000).splitlines())
    finally:
        made.stop()
