"""What went over the links of pods, as the kernel counts it at the node's end."""

from collections.abc import Iterable
from pathlib import Path

import msgspec

from fairway.engine.kubelet.network.pods import link_name

_LINKS = Path("/proc/net/dev")


class Traffic(msgspec.Struct, frozen=True):
    """One direction has bytes, packets, errors and dropped ones, as the pod sees it."""

    received: tuple[int, int, int, int]
    sent: tuple[int, int, int, int]


def measure(sandboxes: Iterable[str]) -> dict[str, Traffic]:
    """By sandbox; those without a link of their own are left out."""
    links = _links()
    named = ((sandbox, links.get(link_name(sandbox))) for sandbox in sandboxes)
    return {sandbox: found for sandbox, found in named if found is not None}


def _links() -> dict[str, Traffic]:
    """What the node received over a link, the pod has sent (proc_net(5): eight counters each)."""
    try:
        lines = _LINKS.read_text(encoding="ascii").splitlines()[2:]
    except OSError:
        return {}
    found = {}
    for name, _, numbers in (line.partition(":") for line in lines):
        counts = [int(word) for word in numbers.split()]
        sent, received = counts[0:4], counts[8:12]
        found[name.strip()] = Traffic((*received,), (*sent,))  # type: ignore[arg-type]  # four of each
    return found
