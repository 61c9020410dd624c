"""What is on disk about containers, so that an engine and a zygote that were restarted find everything again.

`<run dir>/containers/<id>.json` names the shim and holds the spec; the state is a file of its own where the spec says.
"""

import json
import os

from fairway.engine.kubelet.runtime import processes
from fairway.engine.kubelet.runtime.logs import timestamp


def path(run_dir: str, container: str) -> str:
    """Where the record of a container is."""
    return f"{run_dir}/containers/{container}.json"


def create(run_dir: str, container: str, spec: str, shim: int) -> None:
    """Record which process is the shim of a container; FileExistsError when it has one already."""
    final = path(run_dir, container)
    os.makedirs(os.path.dirname(final), mode=0o700, exist_ok=True)
    text = f'{{"shim_pid":{shim},"shim_start_ticks":{processes.start_ticks(shim)},"spec":{spec}}}'
    fresh = f"{final}.{shim}"
    try:
        _write(fresh, text)
        os.link(fresh, final)  # unlike rename it refuses to replace
    finally:
        os.unlink(fresh)


class StateFile:
    """The state of one container, always a whole file; the fields are those of `model.ContainerState`."""

    def __init__(self, location: str, container: str) -> None:
        self._location = location
        self.fields: dict[str, object] = {"id": container}

    @staticmethod
    def load(location: str) -> "StateFile":
        """The state that is there."""
        with open(location, encoding="utf-8") as file:
            fields = json.load(file)
        state = StateFile(location, fields["id"])
        state.fields = fields
        return state

    def write(self, status: str, **fields: object) -> dict[str, object]:
        """Record a change; returns all fields."""
        self.fields.update(fields, status=status)
        fresh = f"{self._location}.{os.getpid()}"
        _write(fresh, json.dumps(self.fields))
        os.replace(fresh, self._location)
        return self.fields


def exit_fields(status: int, oom_killed: bool, nanoseconds: int) -> dict[str, object]:
    """What a wait status means: 128 + n for signal n, OOMKilled whenever the kernel killed for want of memory."""
    code = os.waitstatus_to_exitcode(status)
    number = -code if code < 0 else None
    reason = "OOMKilled" if oom_killed else "Error" if code else "Completed"
    ended = timestamp(nanoseconds)
    return {"exit_code": 128 + number if number else code, "signal": number, "reason": reason, "finished_at": ended}


def _write(location: str, text: str) -> None:
    fd = os.open(location, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    try:
        os.write(fd, text.encode())
    finally:
        os.close(fd)
