"""One cluster for all tests of the path; base images are built once."""

import re
from collections.abc import Iterator

import cluster
import pytest
import shared
import space


@pytest.fixture(scope="session")
def fairway_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    instance = cluster.new(tmp_path_factory.mktemp("cluster"))
    shared.bases(instance.state_dir, "busybox", "nginx", "python")
    instance.start()
    yield instance
    instance.stop()


@pytest.fixture
def kubectl(fairway_cluster: cluster.Cluster, request: pytest.FixtureRequest) -> Iterator[space.Kubectl]:
    """In a namespace of the test's own, which goes with it."""
    namespace = re.sub("[^a-z0-9]+", "-", request.node.name.removeprefix("test_").lower())[:60].strip("-")
    fairway_cluster.kubectl("create", "namespace", namespace)
    yield space.Kubectl(fairway_cluster, namespace)
    fairway_cluster.kubectl("delete", "namespace", namespace, "--timeout=120s")
