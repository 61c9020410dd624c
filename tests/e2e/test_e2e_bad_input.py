"""Mistakes and misfortunes: each gets a clear message, and nothing that worked before stops working."""

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import browse
import cluster
import manifests
import pytest
from cluster import Cluster

from fairway.toolkit import linux

pytestmark = pytest.mark.real


@pytest.fixture
def good(fairway_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster with a site that must go on working whatever the test does."""
    fairway_cluster.apply(manifests.web("good"))
    fairway_cluster.kubectl("rollout", "status", "deployment/good", "--timeout=60s")
    browse.until(fairway_cluster, "good.example.com", status=200)
    yield fairway_cluster
    assert browse.get(fairway_cluster, "good.example.com").body == "v1 /"
    fairway_cluster.kubectl("delete", "deployment,service,ingress,secret", "--all", "--wait=true")


def ingress(name: str, host: str, service: str, *, secret: str = "", path: str = "/") -> str:
    backend = {"service": {"name": service, "port": {"number": 80}}}
    spec: dict[str, object] = {
        "rules": [{"host": host, "http": {"paths": [{"path": path, "pathType": "Prefix", "backend": backend}]}}]
    }
    if secret:
        spec["tls"] = [{"hosts": [host], "secretName": secret}]
    made = json.loads(manifests.small("Ingress", name, spec=spec))
    return json.dumps({**made, "apiVersion": "networking.k8s.io/v1"})


def warnings(good: Cluster, name: str) -> str:
    """The warning events about an object, once there are any."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        found = [e for e in good.objects("events") if e["involvedObject"]["name"] == name and e["type"] == "Warning"]
        if found:
            return "\n".join(f"{event['reason']}: {event['message']}" for event in found)
        time.sleep(0.1)
    raise AssertionError(good.kubectl("describe", "ingress", name))


def test_a_service_without_pods_says_so_in_a_page(good: Cluster) -> None:
    good.apply(manifests.small("Service", "empty", spec={"selector": {"app": "nobody"}, "ports": [{"port": 80}]}))
    good.apply(ingress("empty", "empty.example.com", "empty"))
    page = browse.until(good, "empty.example.com", status=503)
    assert "empty.example.com" in page.body
    assert page.headers["content-type"].startswith("text/html")


def test_an_ingress_that_names_a_missing_service_gets_an_event(good: Cluster) -> None:
    good.apply(ingress("lost", "lost.example.com", "no-such-service"))
    assert "no-such-service" in warnings(good, "lost")
    assert browse.get(good, "lost.example.com").status in (404, 503)


def test_a_missing_secret_gets_an_event_and_the_rest_serves(good: Cluster) -> None:
    made = json.loads(ingress("secretless", "secretless.example.com", "good"))
    made["metadata"]["annotations"] = {
        "nginx.ingress.kubernetes.io/auth-type": "basic",
        "nginx.ingress.kubernetes.io/auth-secret": "no-such-secret",
    }
    good.apply(json.dumps(made))
    assert "no-such-secret" in warnings(good, "secretless")
    assert browse.get(good, "secretless.example.com").status in (401, 403, 503)  # never open to everybody


def test_a_certificate_that_is_missing_is_issued_without_a_warning(good: Cluster) -> None:
    good.apply(ingress("fresh", "fresh.example.com", "good", secret="made-by-nobody"))
    good.kubectl("wait", "--for=create", "secret/made-by-nobody", "--timeout=60s")
    events = [event for event in good.objects("events") if event["involvedObject"]["name"] == "fresh"]
    assert [event["type"] for event in events if event["type"] == "Warning"] == []


def test_a_bad_certificate_is_named_and_refused(good: Cluster) -> None:
    text = base64.b64encode(b"-----BEGIN CERTIFICATE-----\nbm9wZQ==\n-----END CERTIFICATE-----\n").decode()
    data = {"tls.crt": text, "tls.key": text}
    good.kubectl("create", "-f", "-", text=manifests.small("Secret", "broken", type="kubernetes.io/tls", data=data))
    good.apply(ingress("broken", "broken.example.com", "good", secret="broken"))
    assert "broken" in warnings(good, "broken")


@pytest.mark.parametrize(
    ("kind", "fields", "said"),
    [
        ("Pod", {"spec": {"containers": []}}, ["spec.containers", "Required value"]),
        (
            "Pod",
            {"spec": {"containers": [{"name": "a", "image": "b"}, {"name": "a", "image": "b"}]}},
            ["Duplicate value"],
        ),
        ("Pod", {"spec": {"containers": [{"name": "A!", "image": "b"}]}}, ["spec.containers[0].name", "A!"]),
        ("Service", {"spec": {"ports": [{"port": 0}]}}, ["spec.ports[0].port", "between 1 and 65535"]),
        ("ConfigMap", {"data": {"a": 1}}, ["data"]),
    ],
)
def test_wrong_objects_are_refused_naming_the_field(good: Cluster, kind: str, fields: dict, said: list[str]) -> None:
    answer = good.kubectl(
        "create", "--validate=false", "-f", "-", text=manifests.small(kind, "wrong", **fields), check=False
    )
    for part in said:
        assert part in answer


def fairway_up(state_dir: Path, prefix: tuple[str, ...] = (), **environment: str) -> "subprocess.CompletedProcess[str]":
    made = cluster.new(state_dir)
    command = [*prefix, sys.executable, "-m", "fairway.processes.main", "up", "--state-dir", str(state_dir)]
    for flag, port in (("--http", made.http), ("--https", made.https), ("--api", made.api)):
        command += [flag, f"127.0.0.1:{port}"]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    place = tmp_path / "read-only"
    place.mkdir()
    linux.mount("tmpfs", str(place), "tmpfs", linux.MS_RDONLY)
    try:
        done = fairway_up(place / "state")
    finally:
        linux.umount(str(place))
    assert done.returncode == 1
    assert str(place) in done.stderr
    assert "--state-dir" in done.stderr


def test_a_missing_nft_names_the_command_that_mends_it(tmp_path: Path) -> None:
    hidden = tmp_path / "bin"
    hidden.mkdir()
    found = [Path(folder, "nft") for folder in ("/usr/sbin", "/sbin") if Path(folder, "nft").exists()]
    empty = tmp_path / "nothing"
    empty.write_text("")
    hide = [f"mount --bind {empty} {nft}" for nft in {path.resolve() for path in found}]
    # In a mount namespace of its own: the clusters of other tests need theirs meanwhile.
    script = "\n".join((*hide, f'PATH={hidden} exec "$@"'))
    done = fairway_up(tmp_path / "state", ("unshare", "-m", "--propagation", "private", "sh", "-ec", script, "sh"))
    assert done.returncode == 1
    assert "apt-get install -y nftables" in done.stderr


def test_a_full_disk_refuses_writes_and_keeps_the_rest(tmp_path: Path) -> None:
    place = tmp_path / "small"
    place.mkdir()
    linux.mount("tmpfs", str(place), "tmpfs", 0, "size=80m")
    made = cluster.new(place / "state")
    try:
        made.start()
        made.kubectl("create", "-f", "-", text=manifests.small("ConfigMap", "before"))
        (place / "filler").write_bytes(b"")
        with (place / "filler").open("ab") as filler:
            try:
                while True:
                    filler.write(b"\0" * (1 << 20))
                    filler.flush()
            except OSError:
                pass
        refused = ""
        for number in range(20):  # the store's log may have some room that it took before
            big = manifests.small("ConfigMap", f"big-{number}", data={"a": "x" * 900_000})
            refused = made.kubectl("create", "-f", "-", text=big, check=False)
            if "created" not in refused:
                break
        assert "no space left on the device" in refused
        assert "free some" in refused
        assert "before" in made.kubectl("get", "configmap", "before", "-o", "name")
        (place / "filler").unlink()
        made.kubectl("create", "-f", "-", text=manifests.small("ConfigMap", "after"))
        made.stop()
    finally:
        if made.process is not None and made.process.poll() is None:
            made.stop(9)
        linux.umount(str(place), linux.MNT_DETACH)
