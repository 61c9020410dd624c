"""One cluster for all tests of the path; base images are built once."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import cluster
import pytest


@pytest.fixture(scope="session")
def fairway_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    instance = cluster.new(tmp_path_factory.mktemp("cluster"))
    build_bases(instance.state_dir)
    instance.start()
    yield instance
    instance.stop()


def build_bases(state_dir: Path) -> None:
    for base in ("busybox", "nginx", "python"):
        command = [sys.executable, "-m", "fairway.processes.main", "image", "build", "--base", base]
        subprocess.run([*command, "--state-dir", str(state_dir)], check=True, capture_output=True, timeout=600)
