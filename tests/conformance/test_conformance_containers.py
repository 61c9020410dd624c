"""What other people's clients and tests do with containers: kr8s' suite, two clients' streams, Helm, Kustomize."""

import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import cluster
import pytest
import shared
from foreign_suites import CONTAINER_TESTS, HERE, PYTEST, SUITES, passes
from live_api import Live
from space import Kubectl

pytestmark = [pytest.mark.real, pytest.mark.timeout(900)]  # the first test installs the clients

# Stands for the images of kr8s' tests; it ends when it is told to, which a lone `sleep` does not.
DOCKERFILE = """FROM busybox
CMD ["sh", "-c", "trap 'exit 0' TERM; sleep 100000 & wait"]
"""
NAMES = ("ubuntu:latest", "gcr.io/google_containers/pause:latest")
KUSTOMIZATION = """
namespace: kustomized
namePrefix: my-
resources: [all.yaml]
configMapGenerator: [{name: pages, literals: [index.html=TEXT]}]
"""
RESOURCES = """
{apiVersion: v1, kind: Namespace, metadata: {name: kustomized}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - name: web
        image: nginx
        imagePullPolicy: Never
        volumeMounts: [{name: pages, mountPath: /usr/share/nginx/html}]
      volumes: [{name: pages, configMap: {name: pages}}]
"""


@pytest.fixture(scope="module")
def real_cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[cluster.Cluster]:
    """With the images that the tests name, made here, and a web server called `web`."""
    instance = cluster.new(tmp_path_factory.mktemp("real"))
    shared.bases(instance.state_dir, "busybox", "nginx")
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text(DOCKERFILE)
    _image(instance.state_dir, *(part for name in NAMES for part in ("-t", name)), str(folder))
    instance.start()
    instance.kubectl("run", "web", "--image=nginx", "--image-pull-policy=Never")
    instance.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    yield instance
    instance.stop()


def _image(state_dir: Path, *arguments: str) -> None:
    command = [sys.executable, "-m", "fairway.processes.main", "image", "build", *arguments]
    subprocess.run([*command, "--state-dir", str(state_dir)], check=True, capture_output=True, timeout=600)


@pytest.fixture
def real(real_cluster: cluster.Cluster, tmp_path: Path) -> Live:
    """As the programs are told of it."""
    (tmp_path / "config").write_bytes(real_cluster.kubeconfig.read_bytes())
    return Live(tmp_path, real_cluster.process.pid, real_cluster.api)


def test_kr8s(real: Live, suites: Any) -> None:
    passes(real, [suites.python, *PYTEST, *SUITES["kr8s"][1:], *CONTAINER_TESTS], suites.source("kr8s"))


def test_the_official_client_streams(real: Live, suites: Any) -> None:
    assert passes(real, [suites.python, HERE / "clients/python_streams.py", "web"], real.folder).endswith("fine\n")


def test_the_javascript_client_streams(real: Live, suites: Any) -> None:
    script = suites.folder / "node/streams.mjs"
    script.write_text((HERE / "clients/javascript_streams.mjs").read_text())  # modules are looked for beside the script
    assert passes(real, ["node", script, "web"], real.folder).endswith("fine\n")


def test_helm(real: Live, suites: Any) -> None:
    command = [suites.python, HERE / "clients/helm_releases.py", HERE / "chart"]
    assert passes(real, command, real.folder).endswith("fine\n")


def test_kustomize(real_cluster: cluster.Cluster, tmp_path: Path) -> None:
    """Another text means another ConfigMap, which rolls the Deployment out anew."""
    (tmp_path / "all.yaml").write_text(RESOURCES)
    kubectl = Kubectl(real_cluster, "kustomized")
    for text in ("one", "two"):
        (tmp_path / "kustomization.yaml").write_text(KUSTOMIZATION.replace("TEXT", text))
        real_cluster.kubectl("apply", "-k", str(tmp_path))
        real_cluster.kubectl("rollout", "status", "deployment/my-web", "-n", "kustomized", "--timeout=60s")
        page = "wget -qO- http://127.0.0.1/ || cat /usr/share/nginx/html/index.html"
        look = partial(kubectl, "exec", "deployment/my-web", "--", "sh", "-c", page, check=False)
        kubectl.until(
            look, lambda found, text=text: found.strip() == text, text
        )  # the old pod may be there for a while
    assert real_cluster.kubectl("diff", "-k", str(tmp_path)) == ""
    real_cluster.kubectl("delete", "-k", str(tmp_path), "--ignore-not-found", "--timeout=60s")
