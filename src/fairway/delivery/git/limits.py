"""How much a repository, a push and a checkout may take."""

import msgspec

MEBIBYTE = 1 << 20
PUSH_FLAG = "--max-push-size"
"""What sets another size."""


class Limits(msgspec.Struct, frozen=True):
    """Bounds for what strangers send. Every one of them is answered with a text that names it."""

    push_bytes_max: int = 512 * MEBIBYTE
    """The size of a push, packed as it travels."""
    blob_bytes_max: int = 256 * MEBIBYTE
    """The size of one file of a push."""
    refs_max: int = 1000
    """Branches and tags of one repository."""
    fetch_bytes_max: int = 2048 * MEBIBYTE
    """The size of one file that git may write while it fetches from a forge."""
    files_max: int = 50_000
    """Files of one checkout."""
    depth_max: int = 64
    """Folders inside folders."""
    process_memory_bytes: int = 2048 * MEBIBYTE
    """Address space of one git process."""
    process_cpu_seconds: int = 600
    processes_max: int = 8
    """Git processes at once; the others wait."""
    app_transfers_max: int = 4
    """Pushes and clones of one App that have a git process at once: nobody takes all of them."""
    app_waiting_max: int = 32
    """Pushes and clones of one App at once, with those that wait."""
    bytes_per_second_min: int = 1000
    slow_seconds: float = 60.0
    """So long a push may arrive more slowly than that, as git's own http.lowSpeedLimit and http.lowSpeedTime."""
    command_timeout_seconds: float = 60.0
    fetch_timeout_seconds: float = 300.0
    transfer_timeout_seconds: float = 1800.0
    """A whole push or clone."""


def of_push(push_bytes_max: int) -> Limits:
    """Limits around pushes of a size; half of it may be one file."""
    return Limits(push_bytes_max=push_bytes_max, blob_bytes_max=push_bytes_max // 2)
