"""`fairway up` by an ordinary user, with a range of subordinate ids and without."""

import http.client
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cluster
import ordinary_user
import pytest
from cluster import Cluster

from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import ImageStore

pytestmark = pytest.mark.real

# Without other users nginx cannot leave root, so its workers are told to stay.
_WEB = """
apiVersion: v1
kind: Pod
metadata: {name: web, labels: {app: web}}
spec:
  terminationGracePeriodSeconds: 1
  containers:
  - name: nginx
    image: nginx
    command: [sh, -c, "SED; exec nginx -g 'daemon off;'"]
    readinessProbe: {tcpSocket: {port: 80}, periodSeconds: 1}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {name: web}
spec:
  rules:
  - host: web.example.com
    http: {paths: [{path: /, pathType: Prefix, backend: {service: {name: web, port: {number: 80}}}}]}
"""


@pytest.fixture(params=["full map", "single map"])
def rootless(request: pytest.FixtureRequest, fairway_cluster: Cluster) -> Iterator[Cluster]:
    """A cluster of an ordinary user, with the image of nginx imported by that user."""
    folder = Path(tempfile.mkdtemp(prefix="fairway-rootless-"))
    folder.chmod(0o755)
    home = folder / "home"
    home.mkdir()
    prefix = ordinary_user.prefix(home, subordinate=request.param == "full map")
    instance = cluster.new(home / "state")
    instance.prefix = prefix
    archive(fairway_cluster.state_dir, "nginx", folder / "nginx.tar")
    run(instance, "image", "import", str(folder / "nginx.tar"))
    instance.start()
    yield instance
    if instance.process.poll() is None:
        instance.stop()
    instance.process.stdout.close()
    shutil.rmtree(folder)


def run(instance: Cluster, *words: str) -> str:
    """A `fairway` command of the user."""
    command = [*instance.prefix, sys.executable, "-m", "fairway.processes.main", *words]
    done = subprocess.run(
        [*command, "--state-dir", str(instance.state_dir)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def archive(state_dir: Path, image: str, file: Path) -> None:
    """An image of a store as an OCI layout in a tar."""
    store = ImageStore(state_dir / "images")
    name = store.find(parse(image))
    assert name is not None
    manifest = store.manifest(name.facts["manifest"])
    digests = (name.facts["manifest"], manifest.config.digest, *(layer.digest for layer in manifest.layers))
    size = store.blobs.path(digests[0]).stat().st_size
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "digest": digests[0],
        "size": size,
        "annotations": {"io.containerd.image.name": "docker.io/library/" + image + ":latest"},
    }
    with tarfile.open(file, "w") as tar:
        for member, text in (
            ("oci-layout", {"imageLayoutVersion": "1.0.0"}),
            ("index.json", {"schemaVersion": 2, "manifests": [entry]}),
        ):
            data = json.dumps(text).encode()
            info = tarfile.TarInfo(member)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for digest in digests:
            tar.add(store.blobs.path(digest), f"blobs/sha256/{digest.removeprefix('sha256:')}")
    file.chmod(0o644)


def processes() -> list[str]:
    """What runs as the user, or as one of the user's subordinate ids."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            uid = folder.stat().st_uid if folder.name.isdecimal() else 0
        except FileNotFoundError:
            continue
        if uid == ordinary_user.UID or 0 <= uid - ordinary_user.FIRST_SUBORDINATE < ordinary_user.SUBORDINATES:
            found.append(folder.name)
    return found


def test_a_pod_behind_its_domain_without_root(rootless: Cluster, request: pytest.FixtureRequest) -> None:
    full = "full map" in request.node.name
    assert ("65536 subordinate ids" if full else "containers only have root") in run(rootless, "doctor")
    change = "true" if full else "sed -i 's/^user .*/user root;/' /etc/nginx/nginx.conf"
    rootless.apply(_WEB.replace("SED", change))
    rootless.kubectl("wait", "--for=condition=Ready", "pod/web", "--timeout=60s")
    assert b"Welcome to nginx" in page(rootless)
    assert rootless.kubectl("exec", "web", "--", "id", "-u").strip() == "0"
    rootless.kubectl("delete", "pod", "web", "--wait=true", "--timeout=60s")
    run(rootless, "down")
    rootless.process.wait(120)
    deadline = time.monotonic() + 60
    while left := processes():  # the kernel may still be ending the last
        assert time.monotonic() < deadline, left
        time.sleep(0.02)
    assert not [line for line in Path("/proc/self/mounts").read_text().splitlines() if str(rootless.state_dir) in line]
    assert os.stat(rootless.state_dir).st_uid == ordinary_user.UID


_USER = """
apiVersion: v1
kind: Pod
metadata: {name: user}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  securityContext: {runAsUser: 1000, runAsGroup: 1000, fsGroup: 2000}
  volumes: [{name: data, emptyDir: {}}]
  containers:
  - name: shell
    image: nginx
    command:
    - sh
    - -c
    - id -u; id -G; touch /data/file; stat -c %u:%g /data/file; grep CapEff /proc/self/status; sleep 100
    volumeMounts: [{name: data, mountPath: /data}]
"""


def test_other_users_in_a_pod(rootless: Cluster, request: pytest.FixtureRequest) -> None:
    """Where there is only one user, it goes by the number that the pod wants, and is no root either."""
    rootless.apply(_USER)
    rootless.kubectl("wait", "--for=condition=Ready", "pod/user", "--timeout=60s")
    groups = "1000 2000" if "full map" in request.node.name else "1000"
    owner = "1000:2000" if "full map" in request.node.name else "1000:1000"
    wanted = ["1000", *groups.split(), owner, "CapEff:", "0000000000000000"]
    deadline = time.monotonic() + 60
    while (said := rootless.kubectl("logs", "user").split()) != wanted:
        assert time.monotonic() < deadline, said
    said = rootless.kubectl(
        "exec", "user", "--", "sh", "-c", "id -u; echo more >> /data/file; kill -0 1 && cat /data/file"
    )
    assert said.split() == ["1000", "more"]


def test_the_node_says_what_it_cannot_limit(rootless: Cluster) -> None:
    (node,) = rootless.objects("nodes")
    limits = next(each for each in node["status"]["conditions"] if each["type"] == "LimitsEnforced")
    assert (limits["status"], limits["reason"]) == ("False", "ControlGroupsMissing")


def page(instance: Cluster) -> bytes:
    """The page through the edge, once it is there."""
    deadline = time.monotonic() + 60
    while True:
        connection = http.client.HTTPConnection("127.0.0.1", instance.http, timeout=60)
        try:
            connection.request("GET", "/", headers={"Host": "web.example.com"})
            answer = connection.getresponse()
            body = answer.read()
        except (OSError, http.client.HTTPException):
            if time.monotonic() > deadline:
                raise
            continue
        finally:
            connection.close()
        if answer.status == 200 or time.monotonic() > deadline:
            return body
        time.sleep(0.02)
