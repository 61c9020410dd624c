"""From a push to a live domain and back, on a cluster of an ordinary user."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import cluster
import ordinary_user
import pytest
from cluster import Cluster

pytestmark = pytest.mark.real
HOST = "rootless.test"
# Without other users nginx cannot leave root, so its workers are told to stay.
STAYS_ROOT = """FROM nginx
COPY index.html /usr/share/nginx/html/index.html
CMD ["sh", "-c", "sed -i 's/^user .*/user root;/' /etc/nginx/nginx.conf; exec nginx -g 'daemon off;'"]
"""


@pytest.fixture(params=["full map", "single map"])
def rootless(request: pytest.FixtureRequest) -> Iterator[Cluster]:
    with tempfile.TemporaryDirectory(prefix="fairway-rootless-") as name:
        folder = Path(name)
        folder.chmod(0o755)
        home = folder / "home"
        home.mkdir()
        instance = cluster.new(home / "state")
        instance.prefix = ordinary_user.prefix(home, subordinate=request.param == "full map")
        said(instance, "image", "build", "--base", "nginx")
        instance.start()
        yield instance
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
    done = subprocess.run([*instance.prefix, *words], capture_output=True, text=True, timeout=180, check=False)
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
        timeout=20,
        check=False,
    )
    return done.stdout.strip()


def test_push_live_and_back_without_root(rootless: Cluster, request: pytest.FixtureRequest) -> None:
    site = rootless.state_dir.parent / "site"
    ran(rootless, site.parent, "git", "init", "--quiet", "--initial-branch=main", str(site))
    if "single map" in request.node.name:
        (site / "Dockerfile").write_text(STAYS_ROOT)
    said(rootless, "app", "create", "site", "--domain", HOST, "--remote")
    assert "is live (v1)" in pushed(rootless, "one")
    assert page(rootless) == "one"
    assert "is live (v2)" in pushed(rootless, "two")
    assert page(rootless) == "two"
    assert "v3 is live" in said(rootless, "rollback", "site")
    assert page(rootless) == "one"
