"""What one running instance leaves in its state directory so that other commands find it."""

import fcntl
import os
from pathlib import Path
from typing import Literal

import msgspec

from fairway.kube.api import quantities
from fairway.toolkit import files

PUSH_BYTES_MAX = 512 << 20
_PUSH_BYTES_LEAST, _PUSH_BYTES_MOST = 1 << 20, 64 << 30


class Address(msgspec.Struct, frozen=True):
    """Where a socket listens."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def reachable_host(self) -> str:
        """A host that works in a URL: the loopback address for "all addresses"."""
        return {"0.0.0.0": "127.0.0.1", "::": "::1", "": "127.0.0.1"}.get(self.host, self.host)

    def url(self, scheme: str) -> str:
        host = f"[{self.reachable_host}]" if ":" in self.reachable_host else self.reachable_host
        return f"{scheme}://{host}:{self.port}"


class Settings(msgspec.Struct, frozen=True):
    """How an instance was asked to run."""

    state_dir: str
    http: Address
    https: Address
    api: Address
    load_balancer_addresses: tuple[str, ...] | None = None
    """For Services of type LoadBalancer; None is the address of `http`."""
    egress: str = "auto"
    runtime: Literal["auto", "native", "crun", "runc"] = "auto"
    """What makes the containers."""
    max_pods: int | None = None
    """How many pods this node takes; None is what its memory suggests."""
    host_paths: tuple[str, ...] = ()
    """Folders of the host that pods may mount."""
    allow_privileged: bool = False
    """Whether privileged containers are started."""
    registry: Address | None = None
    """Where the host also serves the cluster's registry; None is nowhere."""
    platform_domain: str = "fairway.localhost"
    """`git.` of it is where code is pushed to and forges send their webhooks."""
    edge: bool = True
    """Whether this instance serves Ingresses itself."""
    delivery: bool = True
    """Whether this instance looks after Apps itself."""
    push_bytes_max: int = PUSH_BYTES_MAX
    """How large a push may be, packed as it travels."""
    forges: tuple[str, ...] = ()
    """Hosts of forges that may be asked although their addresses are this machine's or the cluster's."""

    @property
    def path(self) -> Path:
        return Path(self.state_dir)

    @property
    def kubeconfig(self) -> Path:
        return self.path / "kubeconfig"

    @property
    def log_file(self) -> Path:
        return self.path / "log" / "fairway.log"


class Instance(msgspec.Struct, frozen=True):
    """A running instance: its launcher and its settings."""

    pid: int
    pid_started_ticks: int
    settings: Settings
    ready: bool = False
    egress: str = ""
    """By what pods reach the outside: `veth`, `slirp4netns`, or `none` and why."""

    def alive(self) -> bool:
        """Whether that very process still runs; a reused process id does not count."""
        return process_started_ticks(self.pid) == self.pid_started_ticks


class Busy(Exception):
    """Another instance already uses the state directory."""


def parse_address(text: str, default_host: str) -> Address:
    """`ADDR:PORT`, `:PORT` or `PORT`.  Raises ValueError that says what is expected."""
    host, _, port = text.rpartition(":")
    if not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f'"{text}" is not ADDR:PORT with a port between 1 and 65535, for example 127.0.0.1:8080')
    return Address(host.strip("[]") or default_host, int(port))


def push_bytes(text: str) -> int:
    """The bytes that `--max-push-size` means by `512Mi`.  Raises ValueError naming the flag."""
    try:
        found = quantities.whole(text)
    except ValueError:
        found = 0
    if not _PUSH_BYTES_LEAST <= found <= _PUSH_BYTES_MOST:
        raise ValueError(f"--max-push-size: {text!r} is not a size between 1Mi and 64Gi, such as 2Gi")
    return found


def process_started_ticks(pid: int) -> int:
    """When a process started, in clock ticks since boot; 0 when none runs (proc(5), fields 3 and 22)."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text()
    except OSError:
        return 0
    fields = stat.rpartition(")")[2].split()
    return 0 if fields[0] in "ZX" else int(fields[19])  # one that nobody has waited for yet has ended all the same


def claim(state_dir: Path) -> int:
    """Take the state directory for this process; the returned descriptor holds it until the process ends.

    Raises Busy when another instance has it, OSError when it cannot be written.
    """
    state_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    handle = os.open(state_dir / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(handle)
        raise Busy(f"{state_dir}: another fairway runs with this state directory") from None
    return handle


def write(settings: Settings, *, ready: bool, egress: str = "") -> None:
    """Record this process as the instance of its state directory."""
    pid = os.getpid()
    instance = Instance(pid, process_started_ticks(pid), settings, ready, egress)
    files.replace(_file(settings.path), msgspec.json.encode(instance), mode=0o600)


def read(state_dir: Path) -> Instance | None:
    """The instance that runs with that state directory, or None."""
    try:
        instance = msgspec.json.decode(_file(state_dir).read_bytes(), type=Instance)
    except (OSError, msgspec.DecodeError):
        return None
    return instance if instance.alive() else None


def forget(state_dir: Path) -> None:
    """Remove the record of a stopped instance."""
    _file(state_dir).unlink(missing_ok=True)


def _file(state_dir: Path) -> Path:
    return state_dir / "instance.json"
