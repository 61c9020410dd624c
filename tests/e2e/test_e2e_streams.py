"""exec, attach, cp, port-forward, run, debug and top with every kubectl of this machine."""

import fcntl
import hashlib
import os
import pty
import re
import select
import signal
import socket
import struct
import subprocess
import termios
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster import Cluster, free_port, kubectls

pytestmark = pytest.mark.real

PODS = """
apiVersion: v1
kind: Pod
metadata: {name: box, namespace: NAMESPACE, labels: {app: streams}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, imagePullPolicy: Never, command: [sh, -c, "echo from-main; exec sleep 100000"]}
  - {name: side, image: busybox, imagePullPolicy: Never, command: [sh, -c, "echo from-side; exec sleep 100000"]}
---
apiVersion: v1
kind: Pod
metadata: {name: reader, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: busybox
    imagePullPolicy: Never
    stdin: true
    command: [sh, -c, "while read line; do echo got $line; done; echo ended; exec sleep 100000"]
---
apiVersion: v1
kind: Pod
metadata: {name: shell, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - {name: main, image: busybox, imagePullPolicy: Never, stdin: true, tty: true, command: [sh]}
---
apiVersion: v1
kind: Pod
metadata: {name: counter, namespace: NAMESPACE}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: main
    image: "python:3"
    imagePullPolicy: Never
    command:
    - python3
    - -c
    - |
      import hashlib, socket, threading
      def serve(peer):
          digest, size = hashlib.sha256(), 0
          while data := peer.recv(65536):
              digest.update(data); size += len(data)
          peer.sendall(f"{size} {digest.hexdigest()}".encode()); peer.close()
      listener = socket.create_server(("127.0.0.1", 9000), backlog=100)
      while True:
          threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
"""


LISTENS = """
import socket, time
while True:
    try:
        socket.create_connection(("127.0.0.1", 9000)).close()
        break
    except OSError:
        time.sleep(0.1)
"""


class Kubectl:
    """One kubectl in one namespace."""

    def __init__(self, cluster: Cluster, binary: str, namespace: str) -> None:
        self.cluster, self.binary, self.namespace = cluster, binary, namespace
        self.environment = {
            **os.environ, "KUBECONFIG": str(cluster.kubeconfig), "HOME": str(cluster.state_dir / "home")
        }  # fmt: skip

    def start(self, *arguments: str, **options: object) -> "subprocess.Popen[bytes]":
        command = [self.binary, "-n", self.namespace, *arguments]
        return subprocess.Popen(command, env=self.environment, **options)  # type: ignore[call-overload, no-any-return]

    def __call__(self, *arguments: str, data: bytes = b"") -> tuple[int, bytes, bytes]:
        """Exit code, output, errors."""
        command = [self.binary, "-n", self.namespace, *arguments]
        done = subprocess.run(command, env=self.environment, input=data, capture_output=True, timeout=120, check=False)
        return done.returncode, done.stdout, done.stderr

    def ok(self, *arguments: str, data: bytes = b"") -> str:
        code, output, errors = self(*arguments, data=data)
        assert code == 0, (arguments, output, errors, self.cluster.log())
        return output.decode()


class Screen:
    """kubectl at a terminal."""

    def __init__(self, kubectl: Kubectl, *arguments: str, size: tuple[int, int] = (33, 99)) -> None:
        self.master, slave = pty.openpty()
        self.resize(size)
        self.seen = b""
        self.process = kubectl.start(
            *arguments, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)

    def resize(self, size: tuple[int, int]) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def until(self, pattern: str) -> str:
        """Read until the screen shows it."""
        deadline = time.monotonic() + 60
        while not (match := re.search(pattern.encode(), self.seen)):
            assert time.monotonic() < deadline and self._read(1.0), self.seen
        return match[0].decode()

    def _read(self, seconds: float) -> bool:
        ready, _, _ = select.select([self.master], [], [], seconds)
        if not ready:
            return True
        try:
            data = os.read(self.master, 65536)
        except OSError:
            return False
        self.seen += data
        return bool(data)

    def end(self) -> int:
        """Read to the end; the exit code."""
        while self.process.poll() is None and self._read(0.2):
            pass
        code = self.process.wait(60)
        os.close(self.master)
        return code


def sized(size: str) -> str:
    """What a shell runs to wait for a size: a terminal has none before kubectl has told it."""
    return f"while [ \"$(stty size 2>/dev/null)\" != '{size}' ]; do sleep 0.05; done"


@pytest.fixture(scope="module")
def namespace(fairway_cluster: Cluster) -> Iterator[str]:
    name = "streams"
    fairway_cluster.kubectl("create", "namespace", name)
    fairway_cluster.apply(PODS.replace("NAMESPACE", name))
    pods = ("pod/box", "pod/reader", "pod/shell", "pod/counter")
    fairway_cluster.kubectl("-n", name, "wait", "--for=condition=Ready", *pods, "--timeout=60s")
    fairway_cluster.kubectl("-n", name, "exec", "counter", "--", "python3", "-c", LISTENS)
    yield name
    fairway_cluster.kubectl("delete", "namespace", name, "--wait=true", "--timeout=120s")


@pytest.fixture(params=kubectls().items(), ids=lambda item: item[0])
def kubectl(request: pytest.FixtureRequest, fairway_cluster: Cluster, namespace: str) -> Kubectl:
    return Kubectl(fairway_cluster, request.param[1], namespace)


@pytest.fixture
def newest(fairway_cluster: Cluster, namespace: str) -> Kubectl:
    return Kubectl(fairway_cluster, list(kubectls().values())[-1], namespace)


# --- exec


def test_exec_keeps_streams_and_exit_codes_apart(kubectl: Kubectl) -> None:
    code, output, errors = kubectl("exec", "box", "-c", "main", "--", "sh", "-c", "echo out; echo err >&2; exit 3")
    assert (code, output) == (3, b"out\n")
    assert errors == b"err\ncommand terminated with exit code 3\n"
    assert kubectl("exec", "box", "-c", "side", "--", "true") == (0, b"", b"")
    code, _, errors = kubectl("exec", "box", "-c", "main", "--", "sh", "-c", "kill -9 $$")
    assert code == 137, errors


def test_exec_takes_input_to_its_end(kubectl: Kubectl) -> None:
    data = os.urandom(3_000_000)
    code, output, _ = kubectl("exec", "-i", "box", "-c", "main", "--", "sha256sum", data=data)
    assert (code, output.split()[0].decode()) == (0, hashlib.sha256(data).hexdigest())
    code, output, _ = kubectl("exec", "-i", "box", "-c", "main", "--", "cat", data=data)
    assert (code, output) == (0, data)


def test_exec_says_what_is_wrong(kubectl: Kubectl) -> None:
    code, _, errors = kubectl("exec", "box", "-c", "main", "--", "nothing")
    assert code == 1
    assert b'exec: "nothing": executable file not found in $PATH' in errors
    code, _, errors = kubectl("exec", "box", "-c", "other", "--", "true")
    assert code == 1
    assert b"container other is not valid for pod box" in errors or b"container other not found in pod box" in errors
    code, _, errors = kubectl("exec", "none", "--", "true")
    assert (code, b'pods "none" not found' in errors) == (1, True)


def test_exec_with_a_terminal(kubectl: Kubectl) -> None:
    screen = Screen(kubectl, "exec", "-it", "box", "-c", "main", "--", "sh")
    screen.until("# ")
    screen.type(f"tty; {sized('33 99')}; stty size; echo $TERM\n")
    screen.until(r"/dev/pts/\d+\r\n33 99\r\nxterm\r\n")
    screen.resize((20, 60))
    screen.process.send_signal(signal.SIGWINCH)
    screen.type(f"{sized('20 60')}; echo re''sized\n")
    screen.until("resized")
    screen.type("exit 5\n")
    assert screen.end() == 5


def test_exec_of_a_killed_client_leaves_nothing(newest: Kubectl) -> None:
    for arguments in (("-i",), ("-it",), ()):
        if arguments == ("-it",):
            screen = Screen(newest, "exec", "-it", "box", "-c", "main", "--", "sh", "-c", "sleep 4242 & sleep 4242")
            process = screen.process
        else:
            command = ("box", "-c", "main", "--", "sh", "-c", "sleep 4242 & sleep 4242")
            process = newest.start("exec", *arguments, *command, stdin=subprocess.PIPE)
        _until(lambda: _sleepers(newest) == 2)
        process.kill()
        process.wait()
        _until(lambda: _sleepers(newest) == 0)
        if arguments == ("-it",):
            os.close(screen.master)
        elif process.stdin:
            process.stdin.close()


def test_nothing_is_left_open(newest: Kubectl, fairway_cluster: Cluster) -> None:
    folder = Path(f"/proc/{fairway_cluster.engine_pid()}/fd")
    newest.ok("exec", "box", "-c", "main", "--", "true")
    before = len(list(folder.iterdir()))
    for _ in range(10):
        newest.ok("exec", "-i", "box", "-c", "main", "--", "cat", data=b"x")
    _until(lambda: len(list(folder.iterdir())) <= before + 2)


def _sleepers(kubectl: Kubectl) -> int:
    return kubectl.ok("exec", "box", "-c", "main", "--", "ps").count("sleep 4242\n")


def _until(check: object) -> None:
    deadline = time.monotonic() + 60
    while not check():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_slow_reader_stops_the_writer(newest: Kubectl, fairway_cluster: Cluster) -> None:
    """Nobody between a reader that stands still and the command holds more than its buffers."""
    status = Path(f"/proc/{fairway_cluster.engine_pid()}/status")

    def resident() -> int:
        return int(re.findall(r"VmRSS:\s+(\d+)", status.read_text())[0])

    before = resident()
    counting = "while head -c 1000000 /dev/zero; do echo >> /tmp/written; done"
    process = newest.start("exec", "box", "-c", "main", "--", "sh", "-c", counting, stdout=subprocess.PIPE)
    assert process.stdout is not None
    process.stdout.read(1000)
    counts = [-1, 0]
    while counts[-1] != counts[-2]:
        time.sleep(0.5)
        look = "touch /tmp/written; wc -l < /tmp/written"
        counts.append(int(newest.ok("exec", "box", "-c", "main", "--", "sh", "-c", look)))
    assert counts[-1] < 30
    assert resident() - before < 20_000
    process.kill()
    process.wait()
    process.stdout.close()


# --- cp


def test_cp_both_ways(kubectl: Kubectl, tmp_path: Path) -> None:
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree" / "data").write_bytes(os.urandom(1_000_000))
    (tmp_path / "tree" / "text").write_text("hello\n")
    kubectl.ok("cp", str(tmp_path / "tree"), "box:/tmp/tree", "-c", "side")
    kubectl.ok("cp", "box:/tmp/tree", str(tmp_path / "back"), "-c", "side")
    for name in ("data", "text"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "tree" / name).read_bytes()
    kubectl.ok("exec", "box", "-c", "side", "--", "rm", "-r", "/tmp/tree")


# --- attach, run, debug


def test_attach_gives_input_and_shows_output(kubectl: Kubectl) -> None:
    process = kubectl.start("attach", "-i", "reader", "-q", stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(b"hello\n")
    process.stdin.flush()
    assert process.stdout.readline() == b"got hello\n"
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
    assert "ended" not in kubectl.ok("logs", "reader"), "without stdinOnce the input stays open"


def test_attach_to_a_terminal(kubectl: Kubectl) -> None:
    screen = Screen(kubectl, "attach", "-it", "shell", size=(21, 77))
    screen.type(f"{sized('21 77')}; echo size-$((20+1))\n")
    screen.until("size-21")
    screen.process.kill()
    screen.end()


def test_run_with_input_ends_with_the_exit_code(kubectl: Kubectl) -> None:
    code, output, errors = kubectl(
        "run", "once", "-i", "--rm", "--quiet", "--image=busybox", "--image-pull-policy=Never", "--restart=Never",
        "--", "sh", "-c", "cat; exit 6", data=b"one\ntwo\n",
    )  # fmt: skip
    assert (code, output) == (6, b"one\ntwo\n"), errors


def test_run_with_a_terminal(kubectl: Kubectl) -> None:
    screen = Screen(
        kubectl, "run", "once", "-it", "--rm", "--image=busybox", "--image-pull-policy=Never", "--restart=Never",
        "--", "sh",
    )  # fmt: skip
    screen.until("# ")
    screen.type(f"{sized('33 99')}; echo re''sized; exit 7\n")
    screen.until("resized")
    assert screen.end() == 7


def test_debug_joins_the_pod(kubectl: Kubectl) -> None:
    name = "debug-" + re.sub(r"\W", "-", Path(kubectl.binary).name.removeprefix("kubectl."))
    image = ("--image=busybox", "--image-pull-policy=Never")
    screen = Screen(kubectl, "debug", "-it", "counter", *image, "--target=main", "-c", name, "--", "sh")
    screen.until("# ")
    screen.type("ps | grep -c pytho[n]3; hostname; echo x | nc 127.0.0.1 9000 | cut -c1-2; exit\n")
    screen.until(r"\r\n1\r\ncounter\r\n2 ")
    screen.end()
    shown = kubectl.ok("get", "pod", "counter", "-o", "jsonpath={.status.ephemeralContainerStatuses[*].name}")
    assert name in shown.split()
    assert "counter" in kubectl.ok("logs", "counter", "-c", name)


# --- port-forward


class Forward:
    """kubectl port-forward, ready."""

    def __init__(self, kubectl: Kubectl, pod: str, port: int) -> None:
        self.local = free_port()
        self.process = kubectl.start(
            "port-forward", pod, f"{self.local}:{port}", stdout=subprocess.PIPE, stderr=subprocess.STDOUT
        )
        assert self.process.stdout is not None
        assert b"Forwarding from" in self.process.stdout.readline()

    def exchange(self, data: bytes) -> bytes:
        """Send everything, end the sending half, read everything."""
        with socket.create_connection(("127.0.0.1", self.local), timeout=60) as peer:
            peer.sendall(data)
            peer.shutdown(socket.SHUT_WR)
            answer = b""
            while part := peer.recv(65536):
                answer += part
            return answer

    def end(self) -> str:
        assert self.process.stdout is not None
        self.process.kill()
        text = self.process.stdout.read().decode()
        self.process.wait()
        self.process.stdout.close()
        return text


def test_port_forward_carries_many_connections(kubectl: Kubectl) -> None:
    forward = Forward(kubectl, "counter", 9000)
    sent = [os.urandom(200_000 * (index + 1)) for index in range(6)]
    got: dict[int, bytes] = {}
    threads = [
        threading.Thread(target=lambda at=index: got.__setitem__(at, forward.exchange(sent[at])))
        for index in range(len(sent))
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    forward.end()
    assert got == {at: f"{len(data)} {hashlib.sha256(data).hexdigest()}".encode() for at, data in enumerate(sent)}


def test_port_forward_to_nothing_says_so(kubectl: Kubectl) -> None:
    forward = Forward(kubectl, "counter", 9)
    with socket.create_connection(("127.0.0.1", forward.local), timeout=60) as peer:
        peer.sendall(b"x")
        try:
            assert peer.recv(10) == b""
        except ConnectionResetError:
            pass
    assert forward.process.stdout is not None
    lines = b""
    while b"connection refused" not in lines:
        line = forward.process.stdout.readline()
        assert line, lines
        lines += line
    assert b"error forwarding port 9 to pod" in lines
    forward.end()


# --- logs, top


def test_top(kubectl: Kubectl) -> None:
    rows: list[list[str]] = []
    deadline = time.monotonic() + 60
    while not {"box", "counter"} <= {row[0] for row in rows}:  # what came just now was not measured yet
        code, output, errors = kubectl("top", "pod", "--no-headers")
        assert time.monotonic() < deadline, (code, output, errors)
        rows = [line.split() for line in output.decode().splitlines()]
    assert all(re.fullmatch(r"\d+m", row[1]) and re.fullmatch(r"\d+Mi", row[2]) for row in rows)
    assert int(next(row for row in rows if row[0] == "counter")[2].removesuffix("Mi")) >= 2
    containers = kubectl.ok("top", "pod", "box", "--containers", "--no-headers").splitlines()
    assert [line.split()[:2] for line in containers] == [["box", "main"], ["box", "side"]]
    assert kubectl.ok("top", "node", "--no-headers").split()[0] == "fairway"
    assert [line.split()[0] for line in kubectl.ok("top", "pod", "-l", "app=streams", "--no-headers").splitlines()] == [
        "box"
    ]
