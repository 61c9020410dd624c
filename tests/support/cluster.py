"""A real cluster from `fairway up`, and the real kubectl for it."""

import json
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import msgspec
import patience
import shared
from load import Target

START_SECONDS = patience.seconds(60)
_SHARES = 8
_PORTS, _NODE_PORTS = range(20000, 30000), range(30000, 32768)
_given: set[int] = set()


def kubectls() -> dict[str, str]:
    """Every kubectl of this machine by version; a dispatcher in front of versioned ones is left out."""
    first = shutil.which("kubectl")
    assert first is not None, "kubectl is installed by `make test` (kubernetes-client)"
    versioned = sorted(Path(first).resolve().parent.glob("kubectl.1.*"))
    return {path.name.removeprefix("kubectl."): str(path) for path in versioned} or {"distribution": first}


def free_port(ports: range = _PORTS) -> int:
    """A port that nobody listens on, below the ephemeral range, and none of those that clusters choose from themselves.

    Each is given once, as whoever asks takes it later; other processes of the run choose from others.
    """
    while True:
        port = random.randrange(ports.start + shared.worker() % _SHARES, ports.stop, _SHARES)
        if port in _given:
            continue
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if sock.connect_ex(("127.0.0.1", port)) != 0:
                try:
                    sock.bind(("127.0.0.1", port))
                except OSError:
                    continue
                _given.add(port)
                return port


def node_port() -> int:
    """A free port of the range for node ports."""
    return free_port(_NODE_PORTS)


class Cluster(msgspec.Struct):
    """One instance; its ports are on loopback. `prefix` is a command that it is run with, `client_prefix` the
    same for kubectl, and `flags` go to `up`."""

    state_dir: Path
    http: int
    https: int
    api: int
    process: Any = None
    prefix: tuple[str, ...] = ()
    client_prefix: tuple[str, ...] = ()
    flags: tuple[str, ...] = ("--egress", "none")

    @property
    def kubeconfig(self) -> Path:
        return self.state_dir / "kubeconfig"

    def start(self) -> None:
        """`fairway up` in the foreground; returns when it is ready."""
        command = [*self.prefix, sys.executable, "-m", "fairway.processes.main", "up", *self.flags]
        command += ["--state-dir", str(self.state_dir)]
        for flag, port in (("--http", self.http), ("--https", self.https), ("--api", self.api)):
            command += [flag, f"127.0.0.1:{port}"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        deadline = time.monotonic() + START_SECONDS
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                self.process.kill()
                output, _ = self.process.communicate()
                raise AssertionError(f"not started: {output}\n{self.log()}")
            time.sleep(0.02)

    def _ready(self) -> bool:
        try:
            found = json.loads((self.state_dir / "instance.json").read_bytes())
        except (OSError, ValueError):
            return False
        return bool(found["pid"] == self.process.pid and found["ready"])

    def stop(self, number: int = signal.SIGINT) -> None:
        """End it as Ctrl-C does."""
        self.process.send_signal(number)
        self.process.wait(patience.seconds(30))
        self.process.stdout.close()

    def log(self, length: int = 6000) -> str:
        """The end of the engine's log."""
        try:
            return (self.state_dir / "log" / "fairway.log").read_text()[-length:]
        except OSError:
            return ""

    def kubectl(self, *arguments: str, binary: str = "", text: str | None = None, check: bool = True) -> str:
        """Run kubectl; its standard output. Fails the test with its error when it fails."""
        command = [*self.client_prefix, binary or list(kubectls().values())[-1], *arguments]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.state_dir / "home")}
        done = subprocess.run(
            command,
            env=environment,
            input=text,
            capture_output=True,
            text=True,
            timeout=patience.seconds(120),
            check=False,
        )
        if check:
            assert done.returncode == 0, f"{' '.join(arguments)}: {done.stderr}\n{self.log()}"
            return done.stdout
        return done.stdout + done.stderr

    def kubectl_until(self, text: str, *arguments: str) -> str:
        """What kubectl has said by the time that it says `text`; then it is ended, however long it would go on."""
        command = [*self.client_prefix, list(kubectls().values())[-1], *arguments]
        environment = {**os.environ, "KUBECONFIG": str(self.kubeconfig), "HOME": str(self.state_dir / "home")}
        with subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            assert process.stdout is not None
            timer = threading.Timer(patience.seconds(60), process.kill)
            timer.start()
            said = ""
            try:
                while text not in said:
                    line = process.stdout.readline()
                    assert line, f"{' '.join(arguments)} never said {text!r}: {said}\n{self.log()}"
                    said += line
            finally:
                timer.cancel()
                process.kill()
        return said

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """The items of `kubectl get … -o json`."""
        items: list[dict[str, Any]] = json.loads(self.kubectl("get", *arguments, "-o", "json"))["items"]
        return items

    def apply(self, manifest: str) -> str:
        return self.kubectl("apply", "-f", "-", text=manifest)

    def engine_pid(self) -> int:
        """The engine's process id on the host; one that is just being started again is waited for."""
        deadline = time.monotonic() + patience.seconds(30)
        while time.monotonic() < deadline:
            for folder in Path("/proc").iterdir():
                if folder.name.isdecimal() and self._is_engine(folder):
                    return int(folder.name)
            time.sleep(0.02)
        raise AssertionError(f"no engine runs\n{self.log()}")

    def _is_engine(self, folder: Path) -> bool:
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
        except OSError:
            return False
        return b"fairway.processes.engine" in words and any(str(self.state_dir).encode() in word for word in words)

    def kill_engine(self) -> None:
        """SIGKILL to the engine; returns when its successor answers."""
        killed = self.engine_pid()
        os.kill(killed, signal.SIGKILL)
        deadline = time.monotonic() + START_SECONDS
        while self.engine_pid() == killed:
            assert time.monotonic() < deadline, f"the engine does not come back\n{self.log()}"
            time.sleep(0.02)
        self.until_api_answers()

    def until_api_answers(self) -> None:
        """Wait for an engine that is starting: a request that it meets on the way may be lost."""
        deadline = time.monotonic() + START_SECONDS
        while (said := self.kubectl("get", "--raw", "/readyz", check=False)).strip() != "ok":
            assert time.monotonic() < deadline, f"the API does not answer: {said}\n{self.log()}"
            time.sleep(0.05)

    def target(self, host: str, path: str = "/", *, tls: ssl.SSLContext | None = None) -> Target:
        return Target("127.0.0.1", self.https if tls else self.http, host, path, tls)


def new(state_dir: Path) -> Cluster:
    """A cluster that is not started yet."""
    return Cluster(state_dir, free_port(), free_port(), free_port())
