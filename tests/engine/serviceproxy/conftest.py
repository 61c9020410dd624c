"""Services and slices in one line each, and a network namespace to write rules in."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from fairway.toolkit import linux

NODE = (
    "ip link set lo up",
    "ip link add node0 type bridge",
    "ip addr add 10.42.0.1/32 dev node0",
    "ip addr add 169.254.1.1/32 dev node0",
    "ip link set node0 up",
    "ip route add 10.96.0.0/16 dev node0",
    "ip route add 192.0.2.0/24 dev node0",
    "sysctl -qw net.ipv4.ip_forward=1",
)


@pytest.fixture
def network() -> Iterator[None]:
    """This thread, and what it starts, in a network namespace of its own that looks like the cluster's."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    linux.unshare(linux.CLONE_NEWNET)
    try:
        for command in NODE:
            subprocess.run(command.split(), check=True)
        yield
    finally:
        linux.setns(home, linux.CLONE_NEWNET)
        os.close(home)


@pytest.fixture
def foreign_nft(network: None) -> Any:
    """Somebody else's nft command."""

    def run(command: str) -> None:
        subprocess.run(["nft", command], check=True)

    return run


AGENT = """
import json, socket, sys, threading
name = sys.argv[1]
listener = socket.create_server(("0.0.0.0", 8080), backlog=64)
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("0.0.0.0", 8080))
def tcp():
    while True:
        connection, peer = listener.accept()
        connection.sendall(f"{name} {peer[0]}".encode())
        connection.close()
def udp():
    while True:
        _, peer = server.recvfrom(100)
        server.sendto(f"{name} {peer[0]}".encode(), peer)
def ask(kind, address, port, source_port):
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM) as client:
        client.settimeout(60)
        client.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        client.bind(("", source_port))
        try:
            client.connect((address, port))
            if kind == "udp":
                client.send(b"x")
            return client.recv(100).decode()
        except OSError as error:
            return type(error).__name__
threading.Thread(target=tcp, daemon=True).start()
threading.Thread(target=udp, daemon=True).start()
print("up", flush=True)
for line in sys.stdin:
    print(ask(*json.loads(line)), flush=True)
"""


class Pod:
    """A process in a network namespace behind a veth pair; it serves its name on 8080 and asks others on request."""

    def __init__(self, last: int) -> None:
        self.address = f"10.42.0.{last}"
        command = ["unshare", "-n", sys.executable, "-c", AGENT, self.address]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout and self._process.stdout.readline() == "up\n"
        pid, link = self._process.pid, f"v{last}"
        inside = f"nsenter -t {pid} -n ip"
        for step in (
            f"ip link add {link} type veth peer name eth0 netns {pid}",
            f"ip link set {link} up",
            f"ip route add {self.address}/32 dev {link} src 10.42.0.1",
            f"{inside} link set lo up",
            f"{inside} addr add {self.address}/32 dev eth0",
            f"{inside} link set eth0 up",
            f"{inside} route add 169.254.1.1/32 dev eth0 scope link",
            f"{inside} route add default via 169.254.1.1",
        ):
            subprocess.run(step.split(), check=True)

    def ask(self, address: str, port: int, kind: str = "tcp", source_port: int = 0) -> str:
        """What the server said: its name and the client address it saw; or the name of the error."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write(json.dumps([kind, address, port, source_port]) + "\n")
        self._process.stdin.flush()
        return self._process.stdout.readline().strip()

    def end(self) -> None:
        """Stop the process; its namespace and links go with it."""
        with self._process:
            self._process.kill()


@pytest.fixture
def pods(network: None) -> Iterator[list[Pod]]:
    """Three pods."""
    started: list[Pod] = []
    try:
        for last in (3, 4, 5):
            started.append(Pod(last))
        yield started
    finally:
        for pod in started:
            pod.end()


@pytest.fixture
def outside(network: None) -> Iterator[Pod]:
    """A pod that no Service has, to ask from."""
    pod = Pod(99)
    yield pod
    pod.end()
