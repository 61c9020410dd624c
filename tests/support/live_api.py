"""An API server, with controllers and a pretended node, as a process of its own: for other programs, benchmarks."""

import asyncio
import base64
import contextlib
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import patience
import pretend_node
import uvloop

from fairway.engine import controllers
from fairway.engine.apiserver import ApiServer, Config
from fairway.kube.client.client import ApiClient
from fairway.toolkit import signing
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_client import HttpClient, unix_connector

_START_SECONDS = patience.seconds(60)
_KUBECONFIG = """
apiVersion: v1
kind: Config
clusters: [{{name: live, cluster: {{server: "https://127.0.0.1:{port}", certificate-authority-data: {ca}}}}}]
users: [{{name: admin, user: {{client-certificate-data: {certificate}, client-key-data: {key}}}}}]
contexts: [{{name: live, context: {{cluster: live, user: admin, namespace: default}}}}]
current-context: live
"""


class Live(msgspec.Struct, frozen=True):
    """Where the server is."""

    folder: Path
    pid: int
    port: int

    @property
    def kubeconfig(self) -> Path:
        return self.folder / "config"

    @property
    def socket(self) -> Path:
        return self.folder / "api.sock"

    def memory_megabytes(self) -> float:
        """Resident memory of the process."""
        status = Path(f"/proc/{self.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0]) / 1024

    def cpu_seconds(self) -> float:
        """Processor time that the process has used."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def live_api(folder: Path, *, with_controllers: bool = True) -> Iterator[Live]:
    """A running server on disk; `folder` may hold the state of an earlier one."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "ready").unlink(missing_ok=True)
    command = [sys.executable, str(Path(__file__)), str(folder), "controllers" if with_controllers else "alone"]
    with (folder / "server.log").open("ab") as output:
        process = subprocess.Popen(command, stdout=output, stderr=output)
    try:
        yield Live(folder, process.pid, _port(folder, process))
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(patience.seconds(60))


def _port(folder: Path, process: "subprocess.Popen[bytes]") -> int:
    until = time.monotonic() + _START_SECONDS
    while not (folder / "ready").exists():
        if process.poll() is not None or time.monotonic() > until:
            raise RuntimeError(f"the server did not start: {(folder / 'server.log').read_text()[-2000:]}")
        time.sleep(0.002)
    return int((folder / "ready").read_text())


def _certificates(folder: Path) -> None:
    now = datetime.now(UTC)
    authority = signing.authority("live", now)
    for name, pair in (
        ("ca", authority),
        ("server", signing.server(authority, ("127.0.0.1", "localhost"), now)),
        ("admin", signing.client(authority, "kubernetes-admin", "system:masters", now)),
    ):
        (folder / f"{name}.crt").write_bytes(pair.certificate)
        (folder / f"{name}.key").write_bytes(pair.key)


async def _serve(folder: Path, *, with_controllers: bool) -> None:
    if not (folder / "ca.crt").exists():
        _certificates(folder)
    sock = socket.create_server(("127.0.0.1", 0))
    port = sock.getsockname()[1]
    config = Config(
        state_dir=folder / "state",
        unix_socket=folder / "api.sock",
        kubelet_socket=folder / "kubelet.sock",
        tls_socket=sock,
        tls_cert=folder / "server.crt",
        tls_key=folder / "server.key",
        client_ca=folder / "ca.crt",
    )
    server = ApiServer(config)
    await server.start()
    (folder / "config").write_text(_kubeconfig(folder, port))
    (folder / "ready.new").write_text(str(port))
    (folder / "ready.new").rename(folder / "ready")
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    room = asyncio.create_task(_controllers(folder)) if with_controllers else None
    await stop.wait()
    if room is not None:
        room.cancel()
        await asyncio.gather(room, return_exceptions=True)
    await server.stop()


def _kubeconfig(folder: Path, port: int) -> str:
    def data(name: str) -> str:
        return base64.b64encode((folder / name).read_bytes()).decode()

    return _KUBECONFIG.format(port=port, ca=data("ca.crt"), certificate=data("admin.crt"), key=data("admin.key"))


async def _controllers(folder: Path) -> None:
    client = ApiClient(HttpClient(unix_connector(folder / "api.sock"), host_header="local", max_connections=64))
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(controllers.run(client, SystemClock(), root_ca=(folder / "ca.crt").read_bytes()))
        tasks.create_task(pretend_node.run(client))


if __name__ == "__main__":
    limit = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    uvloop.run(_serve(Path(sys.argv[1]), with_controllers=sys.argv[2] == "controllers"))
