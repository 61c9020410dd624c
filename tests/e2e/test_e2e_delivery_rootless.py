"""From a push to a live domain and back, on a cluster of an ordinary user."""

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import cluster
import ordinary_user
import pytest
from app_site import delivering
from cluster import Cluster

pytestmark = pytest.mark.real
HOST = "rootless.test"
APP = f"""
apiVersion: fairway.dev/v1alpha1
kind: App
metadata: {{name: site}}
spec: {{domains: [{HOST}]}}
"""
STRICT = """
apiVersion: v1
kind: Pod
metadata: {{name: strict}}
spec:
  terminationGracePeriodSeconds: 0
  securityContext: {{runAsNonRoot: true, runAsUser: 4711, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: web
    image: "{image}"
    readinessProbe: {{httpGet: {{path: /, port: 8080}}, periodSeconds: 1}}
    securityContext: {{readOnlyRootFilesystem: true, allowPrivilegeEscalation: false, capabilities: {{drop: [ALL]}}}}
"""
OWN = "FROM nginx\nCOPY index.html /usr/share/nginx/html/index.html\n"


@pytest.fixture(params=["full map", "single map"])
def rootless(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="fairway-rootless-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        instance = cluster.new(home / "state")
        instance.prefix = ordinary_user.prefix(home, subordinate=request.param == "full map")
        instance.start()
        yield delivering(instance)
        instance.stop()


def said(instance: Cluster, *words: str, check: bool = True) -> str:
    """A `fairway` command of the user, in the folder of the site if there is one."""
    folder = instance.state_dir.parent / "site"
    command = [sys.executable, "-m", "fairway.processes.main", *words, "--state-dir", str(instance.state_dir)]
    return ran(instance, folder if folder.exists() else folder.parent, *command, check=check)


def ran(instance: Cluster, folder: Path, *command: str, check: bool = True) -> str:
    enter = ("sh", "-c", 'cd "$1"; shift; exec "$@"', "sh", str(folder))
    quiet = ("env", "-u", "GIT_SSL_CAINFO", "GIT_TERMINAL_PROMPT=0")
    identity = ("-c", "user.name=person", "-c", "user.email=person@example.com") if command[0] == "git" else ()
    words = (*enter, *quiet, command[0], *identity, *command[1:])
    done = subprocess.run([*instance.prefix, *words], capture_output=True, text=True, timeout=280, check=False)
    text = done.stdout + done.stderr
    assert not check or done.returncode == 0, f"{text}\n{instance.log()}"
    return text


def pushed(instance: Cluster, text: str) -> str:
    """Commit a page and push it, as the user."""
    folder = instance.state_dir.parent / "site"
    ran(instance, folder, "sh", "-c", f"echo '{text}' > index.html; git add --all")
    ran(instance, folder, "git", "commit", "--quiet", "-m", text)
    return ran(instance, folder, "git", "push", "fairway", "main")


def page(instance: Cluster) -> str:
    done = subprocess.run(
        ["curl", "-sk", "--resolve", f"{HOST}:{instance.https}:127.0.0.1", f"https://{HOST}:{instance.https}/"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.stdout.strip()


def shows(instance: Cluster, text: str) -> None:
    """The site says just that, as soon as the edge has heard of what is live."""
    deadline = time.monotonic() + 60
    while (seen := page(instance)) != text:
        assert time.monotonic() < deadline, f"the site says {seen!r}, not {text!r}\n{instance.log()}"
        time.sleep(0.1)


def only_pod(instance: Cluster) -> str:
    """The site's pod, once those of older versions are gone."""
    deadline = time.monotonic() + 60
    while len(found := instance.objects("pods", "-l", "fairway.dev/app=site,fairway.dev/environment=production")) != 1:
        assert time.monotonic() < deadline, [one["metadata"]["name"] for one in found]
        time.sleep(0.1)
    return str(found[0]["metadata"]["name"])


def test_push_live_and_back_without_root(rootless: Cluster) -> None:
    site = rootless.state_dir.parent / "site"
    ran(rootless, site.parent, "git", "init", "--quiet", "--initial-branch=main", str(site))
    rootless.apply(APP)
    said(rootless, "app", "remote", "site")
    first = pushed(rootless, "one")
    assert "making base nginx" in first and "is live (v1)" in first
    shows(rootless, "one")
    second = pushed(rootless, "two")
    assert "making base" not in second and "is live (v2)" in second
    shows(rootless, "two")
    assert "v3 is live" in said(rootless, "rollback", "site")
    shows(rootless, "one")
    status = rootless.kubectl("exec", only_pod(rootless), "--", "cat", "/proc/1/status").splitlines()
    found = {name: value.split() for name, _, value in (line.partition(":") for line in status)}
    assert found["Uid"][0] == "101" and found["CapEff"] == ["0000000000000000"]
    image = rootless.kubectl("get", "release", "site-v1", "-o", "jsonpath={.spec.image}")
    rootless.apply(STRICT.format(image=image))  # as any user, and with a root that nobody can write to
    rootless.kubectl("wait", "--for=condition=Ready", "pod/strict", "--timeout=60s")
    (site / "Dockerfile").write_text(OWN)  # the image that people know starts as root, and on port 80
    assert "is live" in pushed(rootless, "own")
    shows(rootless, "own")
    (site / "Dockerfile").unlink()
    (site / "index.html").write_text("deployed")
    assert "is live" in said(rootless, "deploy")
    shows(rootless, "deployed")
