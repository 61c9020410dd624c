"""Push to the cluster's registry with a real client, and run what was pushed."""

import gzip
import hashlib
import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import cluster
import pytest
from cluster import Cluster, free_port

from fairway.certificates import authority

pytestmark = pytest.mark.real

_POD = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 1
  imagePullSecrets: {secrets}
  containers: [{{name: main, image: "{image}", imagePullPolicy: {policy}, command: [/bin/busybox, sh, -c, "{script}"]}}]
"""


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory, port: int) -> Iterator[Cluster]:
    instance = cluster.new(tmp_path_factory.mktemp("registry"))
    instance.flags = ("--registry", f"127.0.0.1:{port}")
    instance.start()
    yield instance
    instance.stop()


def token(served: Cluster, name: str, *flags: str) -> str:
    command = [sys.executable, "-m", "fairway.processes.main", "registry", "token", name, *flags]
    command += ["--state-dir", str(served.state_dir)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def layout(folder: Path, text: str) -> Path:
    """An image with busybox in it, as an OCI layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)

    def put(data: bytes, media_type: str) -> dict[str, object]:
        digest = hashlib.sha256(data).hexdigest()
        (blobs / digest).write_bytes(data)
        return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(data)}

    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        tar.add("/bin/busybox", "bin/busybox")
        member = tarfile.TarInfo("text")
        member.size = len(text)
        tar.addfile(member, io.BytesIO(text.encode()))
    diff_id = f"sha256:{hashlib.sha256(buffer.getvalue()).hexdigest()}"
    config = {"architecture": "amd64", "os": "linux", "rootfs": {"type": "layers", "diff_ids": [diff_id]}}
    base = "application/vnd.oci.image"
    manifest = {
        "schemaVersion": 2,
        "mediaType": f"{base}.manifest.v1+json",
        "config": put(json.dumps(config).encode(), f"{base}.config.v1+json"),
        "layers": [put(gzip.compress(buffer.getvalue(), 1), f"{base}.layer.v1.tar+gzip")],
    }
    entry = put(json.dumps(manifest).encode(), f"{base}.manifest.v1+json")
    entry["annotations"] = {"org.opencontainers.image.ref.name": "v1"}
    (folder / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return folder


def push(served: Cluster, port: int, tmp_path: Path, secret: str, text: str) -> "subprocess.CompletedProcess[str]":
    certs = tmp_path / "certs"
    certs.mkdir(parents=True, exist_ok=True)
    shutil.copy(authority.paths(served.state_dir / "pki").certificate, certs / "ca.crt")
    command = ["skopeo", "--insecure-policy", "copy", "--dest-cert-dir", str(certs), "--dest-creds", f"ci:{secret}"]
    source = layout(tmp_path / text, text)
    command += [f"oci:{source}:v1", f"docker://127.0.0.1:{port}/team/app:v1"]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def ran(served: Cluster, name: str, image: str, script: str, policy: str = "IfNotPresent", secrets: str = "[]") -> str:
    """The output of a pod."""
    served.apply(_POD.format(name=name, image=image, script=script, policy=policy, secrets=secrets))
    served.kubectl("wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s")
    output = served.kubectl("logs", name)
    served.kubectl("delete", "pod", name)
    return output


def test_push_and_run(served: Cluster, port: int, tmp_path: Path) -> None:
    secret = token(served, "ci", "--repository", "team/*", "--actions", "pull,push")
    refused = push(served, port, tmp_path, "wrong", "refused")
    assert refused.returncode != 0
    assert push(served, port, tmp_path, secret, "first").returncode == 0
    show = "/bin/busybox cat /text"
    assert ran(served, "by-port", f"127.0.0.1:{port}/team/app:v1", show) == "first"
    assert ran(served, "by-name", "registry.fairway.local/team/app:v1", show) == "first"
    assert push(served, port, tmp_path, secret, "second").returncode == 0
    assert ran(served, "again", "registry.fairway.local/team/app:v1", show) == "second"
    config = {"auths": {"registry.fairway.local": {"username": "ci", "password": secret}}}
    served.kubectl(
        "create", "secret", "generic", "pull", "--type=kubernetes.io/dockerconfigjson",
        f"--from-literal=.dockerconfigjson={json.dumps(config)}",
    )  # fmt: skip
    name = "registry.fairway.local/team/app:v1"
    assert ran(served, "always", name, show, "Always", "[{name: pull}]") == "second"
    forget = [sys.executable, "-m", "fairway.processes.main", "image", "rm", name, "--state-dir", str(served.state_dir)]
    subprocess.run(forget, check=True, capture_output=True)
    assert ran(served, "pulled", name, show, secrets="[{name: pull}]") == "second", "now really from the registry"
    assert f"pulled image={name}" in (served.state_dir / "log" / "fairway.log").read_text()


def test_pods_reach_the_service_by_name(served: Cluster, port: int, tmp_path: Path) -> None:
    secret = token(served, "ci", "--repository", "team/*", "--actions", "pull,push")
    assert push(served, port, tmp_path, secret, "reach").returncode == 0
    script = "/bin/busybox nc -w 30 registry.kube-system.svc.cluster.local 443 < /dev/null && echo reached"
    assert ran(served, "reach", f"127.0.0.1:{port}/team/app:v1", script).endswith("reached\n")
    (service,) = served.objects("services", "-n", "kube-system", "-l", "app.kubernetes.io/name=fairway-registry")
    assert service["spec"]["clusterIP"] == "10.96.0.20"


def test_kill_9_keeps_what_was_pushed_and_the_port(served: Cluster, port: int, tmp_path: Path) -> None:
    secret = token(served, "ci", "--repository", "team/*", "--actions", "pull,push")
    assert push(served, port, tmp_path, secret, "before").returncode == 0
    killed = served.engine_pid()
    subprocess.run(["kill", f"-{signal.SIGKILL.value}", str(killed)], check=True)
    deadline = time.monotonic() + 120
    while (done := push(served, port, tmp_path / "again", secret, "after")).returncode != 0:
        assert any(word in done.stderr for word in ("refused", "reset", "EOF", "timeout")), done.stderr
        assert time.monotonic() < deadline, done.stderr
        shutil.rmtree(tmp_path / "again")
    served.until_api_answers()
    assert ran(served, "after", f"127.0.0.1:{port}/team/app:v1", "/bin/busybox cat /text") == "after"
