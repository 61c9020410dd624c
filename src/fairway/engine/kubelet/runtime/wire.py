"""What goes over the zygote's socket: one JSON request and one JSON answer per connection, each with its length first.

A request has one more byte in front, its kind, so that a shim need not read its own request and stays small.
Used by the zygote and its children, so it imports nothing heavy: `Spec` is `model.ContainerSpec` without msgspec.
"""

import _socket
import json
import struct

from fairway.engine.kubelet.runtime.cgroups import Limits
from fairway.toolkit import fds

START, EXEC, SESSION, SANDBOX = b"s", b"x", b"i", b"n"
LENGTH = struct.Struct(">I")
MOST_BYTES = 64 * 1024 * 1024


class Volume:
    """One mount of a container."""

    def __init__(self, source: str, target: str, read_only: bool, kind: str, size_bytes: int | None) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only
        self.kind = kind
        self.size_bytes = size_bytes


class Spec:
    """A container to start, decoded from the JSON of a `model.ContainerSpec`."""

    def __init__(self, encoded: str | bytes) -> None:
        raw = json.loads(encoded)
        self.id: str = raw["id"]
        self.layers: tuple[str, ...] = tuple(raw["rootfs_layers"])
        self.upper_dir: str = raw["upper_dir"]
        self.work_dir: str = raw["work_dir"]
        self.merged_dir: str = raw["merged_dir"]
        self.args: tuple[str, ...] = tuple(raw["args"])
        self.env: dict[str, str] = dict(raw["env"])
        self.cwd: str = raw["cwd"] or "/"
        self.uid: int | None = raw["uid"]
        self.gid: int | None = raw["gid"]
        self.groups: tuple[int, ...] = tuple(raw["groups"])
        self.volumes = tuple(Volume(**each) for each in raw["mounts"])
        self.hostname: str = raw["hostname"]
        self.log_path: str = raw["log_path"]
        self.state_path: str = raw["state_path"]
        self.sandbox: str = raw["sandbox"]
        self.cgroup: str = raw["cgroup"]
        self.limits = Limits(raw["memory_limit_bytes"], raw["cpu_quota_us"], raw["cpu_shares"], raw["pids_limit"])
        shared = raw.get("pod_limits")
        self.pod_limits = Limits(*shared) if shared else None
        self.oom_score_adj: int | None = raw.get("oom_score_adj")
        self.privileged: bool = raw.get("privileged", False)
        self.seccomp_profile: object = json.loads(raw.get("seccomp_profile") or "null")
        self.oci_runtime: str = raw.get("oci_runtime", "")
        self.seccomp_program: str = raw.get("seccomp_program", "")
        self.capabilities_add: tuple[str, ...] = tuple(raw["capabilities_add"])
        self.capabilities_drop: tuple[str, ...] = tuple(raw["capabilities_drop"])
        self.read_only_root: bool = raw["read_only_root"]
        self.no_new_privileges: bool = raw["no_new_privileges"]
        self.seccomp: str = raw["seccomp"]
        self.tty: bool = raw["tty"]
        self.stdin: bool = raw["stdin"]
        self.stdin_once: bool = raw.get("stdin_once", False)
        self.pid_target: str = raw.get("pid_target", "")


def send(channel: _socket.socket, message: dict[str, object], descriptors: tuple[int, ...] = ()) -> None:
    """One message; descriptors come with its length."""
    body = json.dumps(message).encode()
    fds.send(channel, LENGTH.pack(len(body)), descriptors)
    channel.sendall(body)


def receive(channel: _socket.socket) -> bytes:
    """The body of one message; ConnectionError when the other side went away or sends nonsense."""
    (length,) = LENGTH.unpack(_exactly(channel, LENGTH.size))
    if length > MOST_BYTES:
        raise ConnectionError(f"a message of {length} bytes is too long")
    return _exactly(channel, length)


def _exactly(channel: _socket.socket, count: int) -> bytes:
    parts = bytearray()
    while len(parts) < count:
        part = channel.recv(min(count - len(parts), 1 << 20))
        if not part:
            raise ConnectionError("the connection was closed in the middle of a message")
        parts += part
    return bytes(parts)
