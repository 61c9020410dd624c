"""How fast the node starts pods, and what an idle pod costs.

    python bench/node.py [--pods N] [--settle SECONDS] [--podman N]

One `fairway up` with the busybox image present. First 30 pods one after another: from the moment the API shows the
binding to the moment it shows `Running`, as a watch sees both. Then pods up to N at once. Then, after they settled, the
processor time of everything that belongs to the cluster, and its memory (PSS) beyond that of the pods' own programs.
When the cluster is gone, podman starts N containers of the same image, with and without a network, one after another by
its command line, as it has no other door by default: its times hold the start of a program each, ours do not.
"""

import argparse
import asyncio
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "support"))

import cluster
from cluster import Cluster
from peers.podman import Podman

from fairway.kube.api.resource import PODS, SERVICE_ACCOUNTS
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound

ONE_BY_ONE = 30
PROGRAM = "sleep"
PUBLISHED = (
    "published, not measured here: "
    "k3s 1.6 GB for server and workload (its resource profiling page), 5-40 % of a core when idle (k3s issue 2278)"
)


class Watched:
    """When each pod was seen bound and running, on the monotonic clock."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client
        self.created: dict[str, float] = {}
        self.bound: dict[str, float] = {}
        self.running: dict[str, float] = {}
        self._changed = asyncio.Event()

    async def run(self) -> None:
        async for event in self._client.watch(PODS, "default", resource_version="0"):
            now, pod = time.monotonic(), event.object
            if event.type not in ("ADDED", "MODIFIED"):
                continue
            name = pod["metadata"]["name"]
            if pod["spec"].get("nodeName"):
                self.bound.setdefault(name, now)
            if pod["status"].get("phase") == "Running":
                self.running.setdefault(name, now)
            self._changed.set()

    async def until(self, *names: str) -> None:
        while not all(name in self.running for name in names):
            self._changed.clear()
            await self._changed.wait()


def main() -> None:
    """Run and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--pods", type=int, default=200)
    parser.add_argument("--settle", type=float, default=60.0)
    parser.add_argument("--podman", type=int, default=20, metavar="N", help="0: without it")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="fairway-node-") as folder:
        state_dir = Path(folder) / "state"
        _fairway("image", "build", "--base", "busybox", "--state-dir", str(state_dir))
        made = cluster.new(state_dir)
        made.start()
        try:
            rows = asyncio.run(_measure(made, options.pods, options.settle))
        finally:
            made.process.terminate()
            made.process.wait(60)
        beside = _podman(Path(folder), state_dir, options.podman, rows) if options.podman else []
    print(f"{'':58}{'':>10}    aim   ({os.cpu_count()} cores)")
    for name, value, aim in rows:
        print(f"{name:58}{value:>10}    {aim}")
    for line in beside:
        print(line)
    print(PUBLISHED)


def _podman(folder: Path, state_dir: Path, count: int, rows: list[tuple[str, str, str]]) -> list[str]:
    """Its table, or why there is none. The ratios are podman's figures to ours of this run."""
    own_ms, own_mb = float(rows[1][1]), next(float(value) for name, value, _ in rows if name.startswith("memory"))
    (layer,) = (state_dir / "images" / "layers").iterdir()
    lines = []
    try:
        with Podman(folder / "podman", layer) as podman:
            lines.append(f"{podman.version()} with crun, {count} containers each")
            for network, words in (("none", "without a network"), ("podman", "with its network")):
                known = podman.watchers()
                milliseconds = statistics.median(podman.start(network) for _ in range(count)) * 1000
                megabytes = _pss(podman.watchers() - known, own=True) / count / 1e6
                lines.append(
                    f"  {words}: {milliseconds:.0f} ms to start, p50 ({milliseconds / own_ms:.1f} of ours); "
                    f"{megabytes:.2f} MB beside an idle program ({megabytes / own_mb:.2f} of ours)"
                )
    except (OSError, RuntimeError, subprocess.SubprocessError) as error:
        lines.append(f"podman did not run here: {error}")
    return lines


def _fairway(*arguments: str) -> None:
    subprocess.run([sys.executable, "-m", "fairway.processes.main", *arguments], check=True, stdout=subprocess.DEVNULL)


async def _measure(made: Cluster, pods: int, settle_seconds: float) -> list[tuple[str, str, str]]:
    client = kubeconfig.connect(kubeconfig.load(made.kubeconfig))
    await _until_account(client)
    watched = Watched(client)
    watching = asyncio.create_task(watched.run())
    await asyncio.sleep(5)  # what boots is done
    idle_bytes = _pss(_family(made), own=False)
    for number in range(ONE_BY_ONE):
        watched.created[f"one-{number}"] = time.monotonic()
        await client.create(PODS, _pod(f"one-{number}"))
        await watched.until(f"one-{number}")
    delays = sorted(watched.running[name] - watched.bound[name] for name in watched.running)
    names = [f"many-{number}" for number in range(pods - ONE_BY_ONE)]
    began = time.monotonic()
    await asyncio.gather(*(client.create(PODS, _pod(name)) for name in names))
    await watched.until(*names)
    seconds = time.monotonic() - began
    load = os.getloadavg()[0]
    await asyncio.sleep(settle_seconds)
    family = _family(made)
    busy = _cpu_seconds(family)
    await asyncio.sleep(10)
    share = (_cpu_seconds(family) - busy) / 10
    per_pod = (_pss(family, own=False) - idle_bytes) / pods
    watching.cancel()
    created = sorted(
        watched.running[name] - watched.created[name] for name in watched.running if name.startswith("one")
    )
    loads = f"{load:.1f} {os.getloadavg()[0]:.1f}"
    p99 = delays[int(len(delays) * 0.99)]
    return [
        ("bound to Running, one pod after another, p50 (ms)", f"{statistics.median(delays) * 1000:.0f}", "< 60"),
        ("created to Running, p50 (ms)", f"{statistics.median(created) * 1000:.0f}", ""),
        ("bound to Running, p99 (ms)", f"{p99 * 1000:.0f}", ""),
        (f"{len(names)} pods at once, create to Running (pods/s)", f"{len(names) / seconds:.1f}", ""),
        (f"memory per idle pod beside its program, of {pods} (MB)", f"{per_pod / 1e6:.2f}", "< 1.5"),
        (f"processor time of {pods} idle pods and the cluster (% of a core)", f"{share * 100:.1f}", "at rest"),
        (f"load average right after the start, and {settle_seconds:.0f} s later", loads, ""),
    ]


async def _until_account(client: ApiClient) -> None:
    while True:
        try:
            await client.get(SERVICE_ACCOUNTS, "default", "default")
            return
        except NotFound:
            await asyncio.sleep(0.05)


def _pod(name: str) -> dict[str, Any]:
    container = {"name": "c", "image": "busybox", "imagePullPolicy": "IfNotPresent", "command": [PROGRAM, "100000"]}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container]}}


def _family(made: Cluster) -> set[int]:
    """The launcher and all its descendants."""
    parents = {pid: int(fields[1]) for pid in _pids() if (fields := _stat(pid))}
    family = {made.process.pid}
    while more := {pid for pid, parent in parents.items() if parent in family} - family:
        family |= more
    return family


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdecimal()]


def _stat(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def _pss(family: set[int], *, own: bool) -> int:
    """Bytes of the cluster's processes; with `own` those of the pods' programs too."""
    total = 0
    for pid in family:
        try:
            if not own and Path(f"/proc/{pid}/comm").read_text().strip() == PROGRAM:
                continue
            lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        except OSError:
            continue
        total += sum(int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:"))
    return total


def _cpu_seconds(family: set[int]) -> float:
    ticks = sum(int(fields[11]) + int(fields[12]) for pid in family if (fields := _stat(pid)))
    return ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
