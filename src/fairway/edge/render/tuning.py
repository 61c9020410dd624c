"""Timeouts and limits that change while HAProxy runs: a backend that is tuned reads them from a map."""

from collections.abc import Mapping

from fairway.edge.place import Shape, Tuning
from fairway.edge.render.pages import HTML, UPLOAD
from fairway.edge.render.rendered import TUNING_MAP

_TIMEOUT_MILLISECONDS = 60_000  # of the `defaults` section
_TUNNEL_MILLISECONDS = 3_600_000
_UNLIMITED = 1 << 62
_UNANNOUNCED = "!{ req.hdr(Content-Length) -m found }"
_CHUNKED = "{ req.hdr(Transfer-Encoding) -m found }"


def rules(name: str, shape: Shape) -> tuple[str, ...]:
    """What comes first in a tuned backend."""
    if not shape.tuned:
        return ()
    timeout, limit = f"str({name}.timeout),map_str_int({TUNING_MAP}", f"str({name}.body),map_str_int({TUNING_MAP}"
    lines: tuple[str, ...] = (
        f"http-request set-timeout server {timeout},{_TIMEOUT_MILLISECONDS})",
        f"http-request set-timeout tunnel {timeout},{_TUNNEL_MILLISECONDS})",
    )
    if not shape.profile.bounded:
        return lines
    return (
        *lines,
        f"http-request set-var(txn.body_max) {limit},{_UNLIMITED})",
        # What announces its length is refused at once; the rest is counted on its way by the Lua part, which can only
        # break it off. A request to change the protocol has no body; with a Transfer-Encoding it is none.
        "http-request deny deny_status 413 if { req.body_size,sub(txn.body_max) -m int gt 0 }",
        f"http-request set-var(txn.count_to) var(txn.body_max) if {_UNANNOUNCED} {_CHUNKED}",
        f"http-request set-var(txn.count_to) var(txn.body_max) if {_UNANNOUNCED} !{{ req.hdr(Upgrade) -m found }}",
        "filter lua.fairway_bound",
        f"http-error status 400 {HTML} file {UPLOAD}",
        "http-after-response set-status 413 if { var(txn.too_large) -m bool }",
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
