"""Manifests as popular charts render them: they come up, do their work, and go, and nobody complains."""

from collections.abc import Iterator
from pathlib import Path

import manifests
import pytest
from browse import until
from cluster import Cluster
from space import Kubectl, names

pytestmark = pytest.mark.real
CHARTS = Path(__file__).parent / "charts"


@pytest.fixture
def release(fairway_cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Kubectl]:
    """The chart that the test's parameter names, applied in a namespace of its own; afterwards nothing is left."""
    chart = request.param
    kubectl = Kubectl(fairway_cluster, f"chart-{chart}")
    fairway_cluster.kubectl("create", "namespace", kubectl.namespace)
    path = str(CHARTS / f"{chart}.yaml")
    says = kubectl("apply", "-f", path)
    assert "Warning" not in says
    yield kubectl
    kubectl("delete", "-f", path, "--timeout=120s")
    fairway_cluster.kubectl("delete", "namespace", kubectl.namespace, "--timeout=120s")

    def volumes() -> list[str]:
        return [item["spec"]["claimRef"]["namespace"] for item in fairway_cluster.objects("persistentvolumes")]

    kubectl.until(volumes, lambda found: kubectl.namespace not in found, "its volumes gone")


def quiet(kubectl: Kubectl, *expected: str) -> None:
    """No warning but those of the reasons given, and no error in the cluster's log."""
    warnings = [
        f"{event['reason']}: {event['message']}"
        for event in kubectl.items("events", "--field-selector=type=Warning")
        if event["reason"] not in expected
    ]
    assert warnings == []
    log = (kubectl.cluster.state_dir / "log" / "fairway.log").read_text().splitlines()
    assert [line for line in log if "level=error" in line and kubectl.namespace in line] == []


@pytest.mark.parametrize("release", ["postgres"], indirect=True)
def test_a_database(release: Kubectl) -> None:
    release("rollout", "status", "sts/pg-postgresql", "--timeout=60s")
    assert release("exec", "pg-postgresql-0", "--", "stat", "-c", "%u:%g", "/data/pg/PG_VERSION").strip() == "1001:1001"
    release("rollout", "restart", "sts/pg-postgresql")
    release("rollout", "status", "sts/pg-postgresql", "--timeout=60s")
    assert names(release.items("pvc")) == ["data-pg-postgresql-0"]
    quiet(release, "Unhealthy")  # the startup probe may come before the program listens


@pytest.mark.parametrize("release", ["redis"], indirect=True)
def test_a_cache_with_replicas(release: Kubectl) -> None:
    release("rollout", "status", "sts/redis-master", "--timeout=60s")
    release("rollout", "status", "sts/redis-replicas", "--timeout=60s")

    def hostnames() -> list[str]:
        slices = release.items("endpointslices", "-l", "kubernetes.io/service-name=redis-headless")
        return sorted(endpoint.get("hostname", "") for each in slices for endpoint in each["endpoints"])

    everybody = ["redis-master-0", "redis-replicas-0", "redis-replicas-1"]
    release.until(hostnames, lambda found: found == everybody, "an address of each")
    quiet(release, "Unhealthy")


@pytest.mark.parametrize("release", ["wordpress"], indirect=True)
def test_a_site_and_its_database(release: Kubectl) -> None:
    release("rollout", "status", "deployment/wordpress", "--timeout=60s")
    page = until(release.cluster, "wordpress.example.com", "/wp-admin/install.php", status=200)
    assert page.body == "wp on mariadb:3306\n"
    quiet(release, "Unhealthy")


@pytest.mark.parametrize("release", ["prometheus"], indirect=True)
def test_a_monitor_that_reads_the_cluster(release: Kubectl) -> None:
    release("rollout", "status", "deployment/prometheus-server", "--timeout=60s")
    quiet(release, "Unhealthy")


@pytest.mark.parametrize("release", ["worker"], indirect=True)
def test_a_worker_that_scales(release: Kubectl) -> None:
    release("wait", "--for=condition=complete", "job/migrate", "--timeout=60s")
    release("rollout", "status", "deployment/worker", "--timeout=60s")
    release("wait", "--for=jsonpath={.status.disruptionsAllowed}=1", "pdb/worker", "--timeout=60s")
    assert release.items("pods", "-l", "app=worker")[0]["spec"]["priority"] == 1000
    release("set", "env", "deployment/worker", "VERSION=2")
    release("rollout", "status", "deployment/worker", "--timeout=60s")
    quiet(release, "FailedGetResourceMetric", "FailedComputeMetricsReplicas", "Unhealthy")


@pytest.mark.parametrize("release", ["backup"], indirect=True)
def test_a_backup_by_hand(release: Kubectl) -> None:
    release("create", "job", "now", "--from=cronjob/backup")
    release("wait", "--for=condition=complete", "job/now", "--timeout=60s")
    assert ".tar" in release("logs", "job/now")
    (pod,) = release.items("pods", "-l", "batch.kubernetes.io/job-name=now")  # not that of the night, when it is night
    assert pod["status"]["containerStatuses"][0]["state"]["terminated"]["message"] == "done\n"
    quiet(release)


@pytest.mark.parametrize("release", ["operator"], indirect=True)
def test_an_operator(release: Kubectl) -> None:
    release("rollout", "status", "deployment/operator", "--timeout=60s")
    tunnel = manifests.small("Tunnel", "home", spec={"to": "example.com"}).replace('"v1"', '"chart.example.com/v1"')
    release.cluster.kubectl("-n", release.namespace, "apply", "-f", "-", text=tunnel)
    release("wait", "--for=jsonpath={.status.phase}=Open", "tunnel/home", "--timeout=60s")
    assert release("get", "tun", "--no-headers").split() == ["home", "Open"]
    assert "tunnel.chart.example.com/home" in release("get", "all", "-o", "name")
    assert release.get("tunnel", "home")["spec"]["port"] == 443
    assert release.get("lease", "operator")["spec"]["holderIdentity"].startswith("operator-")
    quiet(release, "Unhealthy")


@pytest.mark.parametrize("release", ["agent"], indirect=True)
def test_an_agent_that_wants_the_host(release: Kubectl) -> None:
    def told() -> list[str]:
        return [event["message"] for event in release.items("events") if event["reason"] == "FailedMount"]

    (message, *_) = release.until(told, bool, "an event")
    assert message.startswith('MountVolume.SetUp failed for volume "varlog" :')
    assert "/var/log" in message
    release(
        "patch", "ds", "agent", "--type=json", "-p",
        '[{"op":"replace","path":"/spec/template/spec/volumes/1","value":{"name":"varlog","emptyDir":{}}}]',
    )  # fmt: skip
    release("rollout", "status", "ds/agent", "--timeout=60s")
    quiet(release, "FailedMount")
