"""The host side: opens the ports, makes the namespaces, answers the cluster's requests for sockets, shows progress."""

import os
import selectors
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import msgspec

from fairway.engine.kubelet.runtime import delegation
from fairway.processes import egress, instance, rootless, supervisor
from fairway.processes.assembling import Assembling
from fairway.processes.broker import BrokerServer, listener
from fairway.processes.instance import Address, Settings
from fairway.toolkit import linux

_NAMESPACES = linux.CLONE_NEWNS | linux.CLONE_NEWNET | linux.CLONE_NEWPID | linux.CLONE_NEWIPC | linux.CLONE_NEWUTS
_LOG_BYTES_MAX = 10 * 1024 * 1024
_NOTICE_BYTES_MAX = 65536


class CannotStart(Exception):
    """The instance cannot start; the message says why and what to do."""


class Ports(msgspec.Struct, frozen=True):
    """The three listeners of an instance."""

    http: socket.socket
    https: socket.socket
    api: socket.socket

    def close(self) -> None:
        for sock in (self.http, self.https, self.api):
            sock.close()


def open_ports(settings: Settings) -> Ports:
    """Listen on the host.  Raises CannotStart naming the flag, the address and what to do."""
    if settings.registry is not None:
        _open("--registry", settings.registry).close()  # only a try: the engine asks the broker for it
    return Ports(
        _open("--http", settings.http),
        _open("--https", settings.https),
        _open("--api", settings.api),
    )


def _open(flag: str, address: Address) -> socket.socket:
    try:
        return listener(address.host, address.port)
    except PermissionError:
        hint = f"ports below 1024 need root: run with sudo, or choose another with {flag} {address.host}:8080"
        raise CannotStart(f"cannot listen on {address} ({flag}): {hint}") from None
    except OSError as error:
        hint = f"`ss -ltnp sport = :{address.port}` shows who has it; choose another with {flag} ADDR:PORT"
        raise CannotStart(f"cannot listen on {address} ({flag}): {error.strerror}; {hint}") from None


def launch(settings: Settings, on_notice: Callable[[str], None]) -> int:
    """Run an instance until it is told to stop; returns the exit code.

    `on_notice` is called with each word the engine reports (`api`, `node`, `edge`, `ready`).
    Raises CannotStart, instance.Busy.
    """
    try:
        lock = instance.claim(settings.path)
    except OSError as error:
        hint = "choose a directory that can be written with --state-dir DIR"
        raise CannotStart(f"{error.filename or settings.state_dir}: {error.strerror}; {hint}") from None
    ports = open_ports(settings)
    cluster = _Cluster(settings, ports)
    ports.close()
    instance.write(settings, ready=False, egress=cluster.egress.words)

    def noticed(word: str) -> None:
        if word == "ready":
            instance.write(settings, ready=True, egress=cluster.egress.words)
        on_notice(word)

    try:
        return cluster.serve(noticed)
    finally:
        cluster.egress.close()
        instance.forget(settings.path)
        os.close(lock)


class _Cluster:
    """The child that is process 1 of the cluster, and the channels to it."""

    def __init__(self, settings: Settings, ports: Ports) -> None:
        outer, inner = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        notice_read, notice_write = os.pipe2(os.O_CLOEXEC)
        lifeline_read, lifeline_write = os.pipe2(os.O_CLOEXEC)
        groups = Path(delegation.claim())
        try:
            self.pid = rootless.fork(_NAMESPACES)
        except rootless.CannotMap as error:
            raise CannotStart(str(error)) from None
        except OSError as error:
            raise CannotStart(
                f"cannot make namespaces: {error.strerror}; `fairway doctor` says what is missing"
            ) from None
        if self.pid == 0:
            outer.close()
            os.close(notice_read)
            os.close(lifeline_write)
            _be_supervisor(settings, ports, groups, inner, notice_write, lifeline_read)
        inner.close()
        os.close(notice_write)
        os.close(lifeline_read)
        self.egress = self._open_egress(settings)
        self._assembling = Assembling(settings.path)
        self._broker = BrokerServer(outer, self._assembling.start)
        self._notice = notice_read
        self._lifeline = lifeline_write  # held open: its end tells process 1 that we are gone

    def _open_egress(self, settings: Settings) -> egress.Egress:
        try:
            return egress.open_egress(settings.egress, self.pid)
        except egress.EgressFailed as error:
            os.kill(self.pid, signal.SIGKILL)
            os.waitpid(self.pid, 0)
            raise CannotStart(f"--egress {settings.egress}: {error}") from None

    def serve(self, on_notice: Callable[[str], None]) -> int:
        """Answer the broker and pass on notices until process 1 has ended."""
        wake_read, wake_write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGCHLD, signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: None)
        with selectors.DefaultSelector() as selector:
            selector.register(wake_read, selectors.EVENT_READ)
            selector.register(self._notice, selectors.EVENT_READ)
            selector.register(self._broker.channel, selectors.EVENT_READ)
            while True:
                for key, _ in selector.select():
                    if key.fd == wake_read:
                        self._forward(os.read(wake_read, 4096))
                    elif key.fd == self._notice:
                        self._pass_on(selector, on_notice)
                    elif not self._broker.serve_one():
                        selector.unregister(self._broker.channel)
                code = self._ended()
                if code is not None:
                    self._assembling.close()
                    return code

    def _forward(self, signals: bytes) -> None:
        if any(number in signals for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)):
            os.kill(self.pid, signal.SIGTERM)

    def _pass_on(self, selector: selectors.BaseSelector, on_notice: Callable[[str], None]) -> None:
        data = os.read(self._notice, _NOTICE_BYTES_MAX)
        if not data:
            selector.unregister(self._notice)
        for word in data.decode().split():
            on_notice(word)

    def _ended(self) -> int | None:
        pid, status = os.waitpid(self.pid, os.WNOHANG)
        return os.waitstatus_to_exitcode(status) if pid else None


def _be_supervisor(
    settings: Settings, ports: Ports, groups: Path, broker: socket.socket, notice: int, lifeline: int
) -> None:
    """Process 1, straight after the fork; never returns."""
    try:
        os.setsid()
        _log_to(settings.log_file)
        upstream = _nameservers(Path("/etc/resolv.conf"))
        supervisor.prepare_namespaces(groups)
        python = (sys.executable, "-I", "-m")
        zygote = ("fairway.engine.kubelet.runtime.zygote", "--socket", str(supervisor.ZYGOTE_SOCKET))
        engine = ("fairway.processes.engine", msgspec.json.encode(settings).decode(), *upstream)
        handed = {
            "http": ports.http.fileno(),
            "https": ports.https.fileno(),
            "api": ports.api.fileno(),
            "broker": broker.fileno(),
            "notice": notice,
        }
        supervisor.run(
            (
                supervisor.Program("zygote", (*python, *zygote, "--run-dir", str(supervisor.RUN_DIR)), {}),
                supervisor.Program("engine", (*python, *engine), handed),
            ),
            lifeline,
        )
    except BaseException as error:
        print(f"level=error room=supervisor did=fail error={error!r}", file=sys.stderr, flush=True)
    os._exit(1)


def _log_to(path: Path) -> None:
    """Send standard output and error to the log file; one older file is kept."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    if path.exists() and path.stat().st_size > _LOG_BYTES_MAX:
        path.replace(path.with_suffix(".1.log"))
    log = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
    nothing = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
    os.dup2(nothing, 0)
    os.dup2(log, 1)
    os.dup2(log, 2)


def _nameservers(path: Path) -> tuple[str, ...]:
    """The host's name servers; read before /run is hidden, where the file may be."""
    try:
        lines = path.read_text().splitlines()
    except OSError:
        return ()
    words = [line.split() for line in lines]
    return tuple(line[1] for line in words if len(line) > 1 and line[0] == "nameserver")
