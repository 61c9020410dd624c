"""Start, stop, side by side, killed: nothing is left and nothing acknowledged is lost."""

import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster
import manifests
import pytest
from cluster import Cluster

pytestmark = pytest.mark.real


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[Cluster]:
    made = cluster.new(tmp_path / "state")
    yield made
    if made.process is not None and made.process.poll() is None:
        made.stop(signal.SIGKILL)


@pytest.fixture
def host() -> Iterator[tuple[str, ...]]:
    """A host with links, rules, ports and mounts that nobody else changes: the command that enters it."""
    script = "ip link set lo up && echo up && exec sleep infinity"
    command = ["unshare", "--net", "--mount", "sh", "-c", script]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as holder:
        try:
            assert holder.stdout is not None and holder.stdout.readline() == "up\n"
            yield ("nsenter", "-t", str(holder.pid), "--net", "--mount")
        finally:
            holder.kill()


def traces(host: tuple[str, ...]) -> dict[str, set[str]]:
    """What an instance could leave on the host, line by line."""
    looks = {
        "links": ("ip", "-o", "link"),
        "ports": ("ss", "-Hltun"),
        "mounts": ("cat", "/proc/self/mountinfo"),
        "rules": ("nft", "list", "ruleset"),
    }
    return {
        what: set(subprocess.run([*host, *look], capture_output=True, text=True, check=True).stdout.splitlines())
        for what, look in looks.items()
    }


def processes_of(made: Cluster) -> list[str]:
    """Command lines that mention the state directory."""
    found = []
    for name in os.listdir("/proc"):
        if name.isdecimal() and int(name) != os.getpid():
            try:
                line = Path(f"/proc/{name}/cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
            except OSError:
                continue
            if str(made.state_dir) in line:
                found.append(line)
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=lambda number: number.name)
def test_nothing_is_left(instance: Cluster, host: tuple[str, ...], number: signal.Signals) -> None:
    instance.prefix = instance.client_prefix = host
    before = traces(host)
    instance.start()
    assert traces(host)["ports"] != before["ports"]
    instance.kubectl("create", "-f", "-", text=manifests.small("ConfigMap", "kept"))
    instance.stop(number)

    def left() -> dict[str, set[str]]:
        """Mounts of before may go: those of others were there when the host's namespace was made."""
        return {what: more for what, lines in traces(host).items() if (more := lines - before[what])}

    # after SIGKILL the kernel takes a moment to end the namespaces
    _until(lambda: processes_of(instance) == [] and not left(), lambda: f"{processes_of(instance)}, {left()}")
    instance.start()
    assert "kept" in instance.kubectl("get", "configmap", "kept", "-o", "name")


def test_two_instances_live_side_by_side(instance: Cluster, tmp_path: Path) -> None:
    other = cluster.new(tmp_path / "other")
    instance.start()
    other.start()
    try:
        other.kubectl("create", "-f", "-", text=manifests.small("ConfigMap", "mine"))
        assert "NotFound" in instance.kubectl("get", "configmap", "mine", check=False)
    finally:
        other.stop()


def _readied(made: Cluster) -> int:
    """How often the engine said that it is ready."""
    return (made.state_dir / "log" / "fairway.log").read_text().count("room=engine did=ready")


def _until(wanted: Callable[[], bool], what: str | Callable[[], str]) -> None:
    deadline = time.monotonic() + 60
    while not wanted():
        assert time.monotonic() < deadline, f"never came: {what if isinstance(what, str) else what()}"
        time.sleep(0.02)


def test_detach_status_and_down(instance: Cluster) -> None:
    fairway = [sys.executable, "-m", "fairway.processes.main"]
    state = ["--state-dir", str(instance.state_dir)]
    ports = ["--http", f"127.0.0.1:{instance.http}", "--https", f"127.0.0.1:{instance.https}"]
    up = [*fairway, "up", "--egress", "none", *state, *ports, "--api", f"127.0.0.1:{instance.api}", "--detach"]
    done = subprocess.run(up, capture_output=True, text=True, timeout=120, check=True)
    assert str(instance.kubeconfig) in done.stdout
    again = subprocess.run(up, capture_output=True, text=True, timeout=120, check=False)
    assert again.returncode == 1
    assert "another fairway runs with this state directory" in again.stderr
    status = subprocess.run([*fairway, "status", *state], capture_output=True, text=True, timeout=120, check=True)
    assert "1 node" in status.stdout
    for times in (2, 3):  # an engine that is started again tells its launcher once more that it is ready
        os.kill(instance.engine_pid(), signal.SIGKILL)
        _until(lambda: _readied(instance) == times, f"ready {times} times")  # noqa: B023
    subprocess.run([*fairway, "status", *state], capture_output=True, timeout=120, check=True)
    subprocess.run([*fairway, "down", *state], timeout=120, check=True)
    assert subprocess.run([*fairway, "status", *state], capture_output=True, timeout=120, check=False).returncode == 3
    _until(lambda: processes_of(instance) == [], lambda: f"nothing left: {processes_of(instance)}")


def test_detached_it_stays_although_nobody_reads_what_it_says(instance: Cluster) -> None:
    fairway = [sys.executable, "-m", "fairway.processes.main"]
    state = ["--state-dir", str(instance.state_dir)]
    ports = ["--http", f"127.0.0.1:{instance.http}", "--https", f"127.0.0.1:{instance.https}"]
    up = [*fairway, "up", "--egress", "none", *state, *ports, "--api", f"127.0.0.1:{instance.api}", "--detach"]
    starting = subprocess.Popen(up, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert starting.stdout is not None
    assert "API answers" in starting.stdout.readline()
    starting.stdout.close()  # as `| head -1` does
    _, complaint = starting.communicate(timeout=120)
    assert (starting.returncode, complaint) == (0, "")
    subprocess.run([*fairway, "status", *state], capture_output=True, timeout=120, check=True)
    subprocess.run([*fairway, "down", *state], timeout=120, check=True)


def test_detached_it_stays_when_the_one_who_waits_is_killed(instance: Cluster) -> None:
    fairway = [sys.executable, "-m", "fairway.processes.main"]
    state = ["--state-dir", str(instance.state_dir)]
    ports = ["--http", f"127.0.0.1:{instance.http}", "--https", f"127.0.0.1:{instance.https}"]
    up = [*fairway, "up", "--egress", "none", *state, *ports, "--api", f"127.0.0.1:{instance.api}", "--detach"]
    starting = subprocess.Popen(up, stdout=subprocess.PIPE, text=True)
    assert starting.stdout is not None
    assert "API answers" in starting.stdout.readline()
    starting.kill()
    starting.communicate(timeout=120)
    _until(lambda: _readied(instance) == 1, "ready")
    subprocess.run([*fairway, "status", *state], capture_output=True, timeout=120, check=True)
    subprocess.run([*fairway, "down", *state], timeout=120, check=True)


def test_a_taken_port_names_the_flag_and_the_way_out(instance: Cluster) -> None:
    with socket.create_server(("127.0.0.1", instance.http)):
        command = [sys.executable, "-m", "fairway.processes.main", "up", "--state-dir", str(instance.state_dir)]
        command += ["--http", f"127.0.0.1:{instance.http}", "--https", f"127.0.0.1:{instance.https}"]
        done = subprocess.run(
            [*command, "--api", f"127.0.0.1:{instance.api}"], capture_output=True, text=True, timeout=120, check=False
        )
    assert done.returncode == 1
    for part in (f"127.0.0.1:{instance.http}", "--http", "already in use", "ss -ltnp"):
        assert part in done.stderr


def test_no_acknowledged_write_is_lost_when_the_engine_is_killed(instance: Cluster) -> None:
    instance.start()
    acknowledged: list[str] = []
    stop = threading.Event()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            body = manifests.small("ConfigMap", f"w-{number}")
            answer = instance.kubectl("create", "--validate=false", "-f", "-", text=body, check=False)
            if "created" in answer:
                acknowledged.append(f"w-{number}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for _ in range(5):
            already = len(acknowledged)
            _until(lambda: len(acknowledged) > already, "another write")  # noqa: B023
            stop.wait(random.uniform(0.0, 0.5))
            os.kill(instance.engine_pid(), signal.SIGKILL)
        instance.until_api_answers()
    finally:
        stop.set()
        writer.join()
    stored = instance.kubectl("get", "configmaps", "-o", "name")
    assert len(acknowledged) >= 5
    assert [name for name in acknowledged if f"configmap/{name}\n" not in stored] == []
