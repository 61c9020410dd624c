"""How a remote command ended, in the words of the error channel."""

from typing import Any

import msgspec


def ended(exit_code: int | None) -> bytes:
    """The `Status` of a command that ran, or of a visit that is over; `v4.channel.k8s.io` and later."""
    if not exit_code:
        return msgspec.json.encode({"metadata": {}, "status": "Success"})
    return _failure(
        f"command terminated with non-zero exit code: error executing command, exit code {exit_code}",
        reason="NonZeroExitCode",
        details={"causes": [{"reason": "ExitCode", "message": str(exit_code)}]},
    )


def failed(message: str) -> bytes:
    """The `Status` of a command that could not be run."""
    cause = {"causes": [{"message": message}]}
    return _failure(f"Internal error occurred: {message}", reason="InternalError", details=cause, code=500)


def ended_in_words(exit_code: int | None) -> bytes:
    """The same before v4: nothing for success."""
    return f"command terminated with non-zero exit code: {exit_code}".encode() if exit_code else b""


def _failure(message: str, **fields: Any) -> bytes:
    return msgspec.json.encode({"metadata": {}, "status": "Failure", "message": message, **fields})
