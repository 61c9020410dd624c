"""What containers use, measured on real processes."""

import os
import subprocess
import sys

from fairway.engine.kubelet.metrics import Metrics, Target
from fairway.engine.kubelet.runtime import usage
from fairway.engine.kubelet.runtime.usage import Group
from fairway.toolkit.clock import FakeClock

BUSY = """
import time
while time.process_time() < 0.3: pass
print("done", flush=True)
input()
"""


async def test_a_process_without_a_group_is_measured(tmp_path) -> None:
    with subprocess.Popen(
        ["unshare", "--pid", "--fork", "--kill-child", sys.executable, "-c", BUSY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"done\n"
        with open(f"/proc/{process.pid}/task/{process.pid}/children") as file:
            pid = int(file.read())
        used = usage.measure({"one": Group("no/such/group", pid), "gone": Group("no/such/group", 0)})
        assert set(used) == {"one"}
        assert 0.25 <= used["one"].cpu_seconds < 5
        assert used["one"].memory_bytes > 2_000_000
        process.kill()


def test_the_whole_machine_is_measured() -> None:
    before = usage.node()
    os.getloadavg()
    assert usage.node().cpu_seconds >= before.cpu_seconds > 0
    assert before.memory_bytes > 10_000_000


async def test_rates_are_since_the_start_at_first(tmp_path) -> None:
    clock = FakeClock()
    started = clock.now()
    await clock.advance(10)
    target = Target("ns", "pod", "c", "id", Group("", os.getpid()), started)
    report = await Metrics(clock, lambda: (target,)).report()
    (pod,) = report["pods"]
    assert (pod["namespace"], pod["name"], pod["containers"][0]["name"]) == ("ns", "pod", "c")
    assert int(pod["containers"][0]["usage"]["cpu"].removesuffix("n")) > 0
    assert int(pod["containers"][0]["usage"]["memory"].removesuffix("Ki")) > 1000
    assert report["node"]["cpu"] == "0n"
