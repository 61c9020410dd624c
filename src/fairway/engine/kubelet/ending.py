"""How a run ended, in the words of `ContainerStateTerminated`."""

from datetime import datetime
from pathlib import Path

from fairway.engine.kubelet.record import ContainerRecord
from fairway.engine.kubelet.runtime.model import ContainerState
from fairway.engine.kubelet.snapshot import Termination
from fairway.engine.kubelet.starting import moment
from fairway.kube.api.pods import Container

_MESSAGE_BYTES_MAX = 4096
_LOG_BYTES_MAX = 2048
_LOG_LINES_MAX = 80
_START_ERROR_CODE = 128
_LOST_CODE = 255


def lost(record: ContainerRecord, now: datetime) -> Termination:
    """A run that the runtime no longer knows, as after a reboot: containerd reports these with code 255."""
    return Termination(
        exit_code=_LOST_CODE,
        container_id=record.id,
        reason="Unknown",
        started_at=record.started_at,
        finished_at=now,
    )


def ended(
    record: ContainerRecord, state: ContainerState, container: Container | None, message_file: Path, log_file: Path
) -> Termination:
    """A run that the runtime saw the end of."""
    code = state.exit_code if state.exit_code is not None else _START_ERROR_CODE
    reason = state.reason or ("Completed" if code == 0 else "Error")
    return Termination(
        exit_code=code,
        signal=state.signal,
        container_id=record.id,
        reason="StartError" if state.status == "failed" else reason,
        message=state.message or _message(container, code, message_file, log_file),
        started_at=moment(state.started_at) or moment(state.finished_at),
        finished_at=moment(state.finished_at),
    )


def _message(container: Container | None, code: int, message_file: Path, log_file: Path) -> str:
    """The last words: the termination message, else the tail of the log where the policy asks for that."""
    text = _tail(message_file, _MESSAGE_BYTES_MAX)
    falls_back = container is not None and container.termination_message_policy == "FallbackToLogsOnError"
    if text or code == 0 or not falls_back:
        return text
    lines = _tail(log_file, 4 * _LOG_BYTES_MAX).splitlines()[-_LOG_LINES_MAX:]
    plain = "\n".join(line.split(" ", 3)[-1] for line in lines)
    return plain[-_LOG_BYTES_MAX:]


def _tail(path: Path, bytes_max: int) -> str:
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - bytes_max))
            return file.read(bytes_max).decode("utf-8", "replace")
    except FileNotFoundError:
        return ""
