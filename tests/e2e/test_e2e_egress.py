"""Pods and the outside, with network namespaces of our own as the host and as the outside.

cluster ── uplink ── "host" 198.51.100.1 ── 198.51.100.2 "outside", which answers with the caller's address
"""

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster
import ordinary_user
import pytest
from cluster import Cluster

pytestmark = pytest.mark.real

HOST, OUTSIDE = "198.51.100.1", "198.51.100.2"
_ECHO = """
import http.server
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = self.client_address[0].encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
server = http.server.ThreadingHTTPServer(("0.0.0.0", 8000), Echo)
print("listening", flush=True)
server.serve_forever()
"""
_FETCH = """
import sys, urllib.request
try:
    print(urllib.request.urlopen(sys.argv[1], timeout=float(sys.argv[2])).read().decode())
except OSError as error:
    print(error)
"""
_POD = """
apiVersion: v1
kind: Pod
metadata: {name: client}
spec:
  terminationGracePeriodSeconds: 0
  containers: [{name: shell, image: "python:3", command: [sleep, infinity]}]
"""


class World:
    """The two namespaces, and an HTTP server in each."""

    def __init__(self, name: str) -> None:
        self.host, self.outside = f"{name}-host", f"{name}-out"
        self._servers: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "World":
        for namespace in (self.host, self.outside):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", self.host, "link", "add", "wan", "type", "veth", "peer", "name", "wan", "netns", self.outside)
        for namespace, address in ((self.host, HOST), (self.outside, OUTSIDE)):
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", "wan")
            ip("-n", namespace, "link", "set", "wan", "up")
            command = ["ip", "netns", "exec", namespace, sys.executable, "-c", _ECHO]
            server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
            self._servers.append(server)
            assert server.stdout is not None and server.stdout.readline() == b"listening\n"
        return self

    def __exit__(self, *_: object) -> None:
        for server in self._servers:
            server.kill()
            server.communicate()
        for namespace in (self.host, self.outside):
            ip("netns", "delete", namespace)

    def on_host(self, *words: str) -> str:
        done = subprocess.run(["ip", "netns", "exec", self.host, *words], capture_output=True, text=True, check=True)
        return done.stdout


def ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True)


@pytest.fixture
def world() -> Iterator[World]:
    with World(f"world{cluster.free_port()}") as made:
        yield made


@pytest.fixture
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="fairway-egress-"))
    found.chmod(0o755)
    yield found
    shutil.rmtree(found)


class Running:
    """A cluster on the host of a world, with a pod."""

    def __init__(self, world: World, state_dir: Path, images: Path, egress: str, more: tuple[str, ...] = ()) -> None:
        enter = ("ip", "netns", "exec", world.host)
        self.cluster = cluster.new(state_dir)
        self.cluster.prefix, self.cluster.client_prefix = (*enter, *more), enter
        self.cluster.flags = ("--egress", egress)
        state_dir.mkdir(parents=True, exist_ok=True)
        subprocess.run(["cp", "-a" if more else "-al", str(images), str(state_dir / "images")], check=True)
        if more:
            subprocess.run(["chown", "-R", f"{ordinary_user.UID}:{ordinary_user.UID}", str(state_dir)], check=True)

    def __enter__(self) -> "Running":
        self.cluster.start()
        self.cluster.apply(_POD)
        self.cluster.kubectl("wait", "--for=condition=Ready", "pod/client", "--timeout=60s")
        return self

    def __exit__(self, *_: object) -> None:
        if self.cluster.process.poll() is None:
            self.cluster.stop()
        self.cluster.process.stdout.close()

    def egress(self) -> str:
        return str(json.loads((self.cluster.state_dir / "instance.json").read_bytes())["egress"])

    def fetch(self, address: str, seconds: float = 60) -> str:
        """What a pod gets from port 8000 of an address."""
        words = ("exec", "client", "--", "python3", "-c", _FETCH, f"http://{address}:8000/", str(seconds))
        return self.cluster.kubectl(*words, check=False).strip()


def until(check: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not check():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def test_a_link_that_leaves_nothing_behind(world: World, folder: Path, fairway_cluster: Cluster) -> None:
    with Running(world, folder / "state", fairway_cluster.state_dir / "images", "auto") as running:
        assert running.egress() == "veth"
        assert running.fetch(OUTSIDE) == HOST
        rules = world.on_host("nft", "list", "ruleset")
        gateway = rules.partition("ip daddr ")[2].split()[0]
        assert "refused" in running.fetch(gateway)  # the host's end of the link is closed
        assert "refused" in running.fetch("127.0.0.1")
        assert "No route" in running.fetch("10.42.200.200")  # no pod: it stays inside
        running.cluster.process.send_signal(signal.SIGKILL)
        running.cluster.process.wait()
        until(lambda: world.on_host("nft", "list", "ruleset") == "", "rules are left")
        until(lambda: ": fw" not in world.on_host("ip", "-o", "link"), "a link is left")


def test_behind_a_firewall_slirp4netns_is_taken(world: World, folder: Path, fairway_cluster: Cluster) -> None:
    world.on_host(
        "nft", "add table ip theirs; add chain ip theirs f { type filter hook forward priority 0; policy drop; }"
    )
    with Running(world, folder / "state", fairway_cluster.state_dir / "images", "auto") as running:
        assert running.egress() == "slirp4netns"
        assert running.fetch(OUTSIDE) == HOST
        assert running.fetch("10.0.2.2", seconds=5) != "127.0.0.1"  # the host's loopback is closed
        assert ": fw" not in world.on_host("ip", "-o", "link")


def test_without_egress_nothing_is_reached(world: World, folder: Path, fairway_cluster: Cluster) -> None:
    with Running(world, folder / "state", fairway_cluster.state_dir / "images", "none") as running:
        assert running.egress() == "none"
        assert "unreachable" in running.fetch(OUTSIDE)
        assert world.on_host("nft", "list", "ruleset") == ""


def test_an_ordinary_user_reaches_the_outside(world: World, folder: Path, fairway_cluster: Cluster) -> None:
    home = folder / "home"
    home.mkdir()
    user = ordinary_user.prefix(home, subordinate=False, tunnel=True)
    with Running(world, home / "state", fairway_cluster.state_dir / "images", "auto", user) as running:
        assert running.egress() == "slirp4netns"
        assert running.fetch(OUTSIDE) == HOST
