"""Timeouts and limits that change while HAProxy runs: a backend that is tuned reads them from a map."""

from collections.abc import Mapping

from fairway.edge.place import Shape, Tuning
from fairway.edge.render.rendered import TUNING_MAP

_TIMEOUT_MILLISECONDS = 60_000  # of the `defaults` section
_TUNNEL_MILLISECONDS = 3_600_000
_UNLIMITED = 1 << 62


def rules(name: str, shape: Shape) -> tuple[str, ...]:
    """What comes first in a tuned backend."""
    if not shape.tuned:
        return ()
    timeout, limit = f"str({name}.timeout),map_str_int({TUNING_MAP}", f"str({name}.body),map_str_int({TUNING_MAP}"
    return (
        f"http-request set-timeout server {timeout},{_TIMEOUT_MILLISECONDS})",
        f"http-request set-timeout tunnel {timeout},{_TUNNEL_MILLISECONDS})",
        f"http-request set-var(txn.body_max) {limit},{_UNLIMITED})",
        # Only what announces its length is refused at once; a chunked body is counted as far as the buffer goes.
        "http-request deny deny_status 413 if { req.body_size,sub(txn.body_max) -m int gt 0 }",
    )


def entries(tunings: Mapping[str, Tuning]) -> dict[str, str]:
    """The values, by what the rules ask for."""
    found: dict[str, str] = {}
    for name, tuning in tunings.items():
        if tuning.read_timeout_seconds is not None:
            found[f"{name}.timeout"] = str(tuning.read_timeout_seconds * 1000)
        if tuning.body_bytes_max:
            found[f"{name}.body"] = str(tuning.body_bytes_max)
    return found
