"""`fairway run delivery` for a cluster of somebody else, with the rights of docs/run-delivery.yaml and no more."""

import base64
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cluster
import pytest
import shared
import yaml
from app_site import Person, delivering
from cluster import Cluster

pytestmark = pytest.mark.real
ROOT = Path(__file__).parents[2]
FAIRWAY = (sys.executable, "-m", "fairway.processes.main")
NODE = "10.42.0.1"
REGISTRY = "10.96.0.20"


@pytest.fixture
def foreign(tmp_path: Path) -> Iterator[Cluster]:
    made = cluster.new(tmp_path / "cluster")
    made.flags = ("--egress", "none", "--no-delivery")
    shared.bases(made.state_dir, "nginx", "python")
    made.start()
    yield made
    made.stop()


def until(check: Callable[[], Any], what: str) -> Any:
    deadline = time.monotonic() + 60
    while not (found := check()):
        assert time.monotonic() < deadline, what
        time.sleep(0.05)
    return found


def kubeconfig(foreign: Cluster, path: Path) -> Path:
    """What docs/run-delivery.md tells people to write."""

    def token() -> str:
        words = ("-n", "fairway-system", "get", "secret", "delivery-token", "-o", "jsonpath={.data.token}")
        return foreign.kubectl(*words, check=False)

    admin = yaml.safe_load(foreign.kubeconfig.read_text())
    place = {
        "server": f"https://{NODE}:6443",
        "certificate-authority-data": admin["clusters"][0]["cluster"]["certificate-authority-data"],
    }
    found = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "c",
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
        "clusters": [{"name": "c", "cluster": place}],
        "users": [{"name": "u", "user": {"token": base64.b64decode(until(token, "no token")).decode()}}],
    }
    path.write_text(yaml.safe_dump(found))
    return path


def credentials(foreign: Cluster, path: Path) -> Path:
    """A login for the registry below fairway/ only."""
    words = ("registry", "token", "delivery", "--repository", "fairway/*", "--actions", "pull,push")
    done = subprocess.run(
        [*FAIRWAY, *words, "--state-dir", str(foreign.state_dir)], capture_output=True, text=True, check=True
    )
    auth = base64.b64encode(f"delivery:{done.stdout.strip()}".encode()).decode()
    path.write_text(json.dumps({"auths": {REGISTRY: {"auth": auth}}}))
    return path


def command(foreign: Cluster, folder: Path) -> list[str]:
    (inside,) = (
        int(pid) for pid in Path(f"/proc/{foreign.process.pid}/task/{foreign.process.pid}/children").read_text().split()
    )
    options = {
        "kubeconfig": kubeconfig(foreign, folder / "delivery.kubeconfig"),
        "state-dir": folder / "delivery",
        "listen": f"{NODE}:8900",
        "public-url": f"https://git.fairway.localhost:{foreign.https}",
        "sites-port": foreign.https,
        "registry": f"{REGISTRY}/fairway",
        "registry-credentials": credentials(foreign, folder / "config.json"),
        "registry-ca": foreign.state_dir / "pki" / "web-ca.crt",
    }
    words = [text for name, value in options.items() for text in (f"--{name}", str(value))]
    return ["nsenter", "-t", str(inside), "-n", *FAIRWAY, "run", "delivery", *words]


def test_a_push_is_live_in_a_cluster_of_somebody_else(foreign: Cluster, tmp_path: Path) -> None:
    foreign.apply((ROOT / "docs" / "run-delivery.yaml").read_text())
    shared.bases(tmp_path / "delivery", "nginx")
    person, log = Person(foreign, tmp_path), tmp_path / "delivery.log"
    with log.open("w") as file:
        running = subprocess.Popen(command(foreign, tmp_path), stdout=file, stderr=file)
        try:
            delivering(foreign)
            site = person.repository("shop")
            person.fairway("app", "create", "shop", "--domain", "shop.example.com", "--remote", folder=site)
            person.commit(site, **{"index.html": "<h1>one</h1>"})
            said = person.push(site)
            assert "shop.example.com" in said, said + log.read_text()
            person.shows("shop.example.com", "<h1>one</h1>")
            (pod,) = foreign.objects("pods", "-l", "fairway.dev/app=shop")
            image = pod["spec"]["containers"][0]["image"]
            assert image.startswith(f"{REGISTRY}/fairway/default/shop@sha256:")
            running.kill()
            running.wait(60)
            running = subprocess.Popen(command(foreign, tmp_path), stdout=file, stderr=file)
            person.commit(site, **{"index.html": "<h1>two</h1>"})
            until(lambda: "shop.example.com" in person.push(site, check=False), "the endpoint never came back")
            person.shows("shop.example.com", "<h1>two</h1>")
            person.fairway("rollback", "shop")
            until(lambda: person.page("shop.example.com") == "<h1>one</h1>", "the first version did not come back")
        finally:
            running.terminate()
            running.wait(60)
    written = log.read_text()
    assert "orbidden" not in written and "level=error" not in written, written
