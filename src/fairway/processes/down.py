"""`fairway down`: stop an instance and wait until nothing of it is left."""

import os
import signal
import time
from pathlib import Path

from fairway.cli import terminal
from fairway.processes import instance

_STOP_SECONDS = 20.0


def run(state_dir: Path) -> int:
    """Stop; returns the exit code. Stopping what does not run is a success."""
    running = instance.read(state_dir)
    if running is None:
        terminal.warn(f"nothing runs with {state_dir}")
        return 0
    os.kill(running.pid, signal.SIGTERM)
    deadline = time.monotonic() + _STOP_SECONDS
    while running.alive():
        if time.monotonic() > deadline:
            terminal.fail(f"process {running.pid} does not end; `kill -9 {running.pid}` frees everything at once")
            return 1
        time.sleep(0.02)
    terminal.ok(f"stopped; the state is kept in {state_dir}")
    return 0
