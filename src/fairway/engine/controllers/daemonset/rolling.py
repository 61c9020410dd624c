"""How pods of an old template make way: first away (maxUnavailable), or first a new one beside (maxSurge)."""

from collections.abc import Iterable

import msgspec

from fairway.engine.controllers.daemonset.snapshot import Snapshot
from fairway.kube.api.pods import Pod


class Pair(msgspec.Struct, frozen=True):
    """The pods of a node that count; None where there is none."""

    new: Pod | None = None
    old: Pod | None = None


def replaced(seen: Snapshot) -> tuple[Pod, ...]:
    """Old pods to delete now, without surge: those that do not serve, and as many others as may be missing."""
    unavailable = 0
    broken: list[Pod] = []
    candidates: list[Pod] = []
    for node in seen.by_node:
        pair = pair_of(seen, node)
        if pair is None or (pair.new is None) == (pair.old is None):
            unavailable += 1  # the other half of the plan settles this node
        elif pair.new is not None:
            unavailable += not seen.is_available(pair.new)
        elif pair.old is not None:
            served = seen.is_available(pair.old)
            unavailable += not served
            (candidates if served else broken).append(pair.old)
    room = max(0, seen.limits[1] - unavailable)
    return (*broken, *candidates[:room])


def surged(seen: Snapshot) -> tuple[str, ...]:
    """Nodes that get a new pod beside the old one now."""
    surging = 0
    free: list[str] = []
    candidates: list[str] = []
    for node in seen.by_node:
        pair = pair_of(seen, node)
        if pair is None:
            surging += 1
        elif pair.old is not None and pair.new is None:
            if node in seen.coming:
                surging += 1
            else:
                (candidates if seen.is_available(pair.old) else free).append(node)
        elif pair.old is not None and pair.new is not None:
            surging += not seen.is_available(pair.new)
    room = max(0, seen.limits[0] - surging)
    return (*free, *candidates[:room])


def pair_of(seen: Snapshot, node: str) -> Pair | None:
    """The new and the old pod of a node; None when there are two of a kind."""
    staying = [pod for pod in seen.by_node.get(node, ()) if not seen.is_leaving(pod)]
    new = [pod for pod in staying if seen.is_new(pod)]
    old = [pod for pod in staying if not seen.is_new(pod)]
    if len(new) > 1 or len(old) > 1:
        return None
    return Pair(_only(new), _only(old))


def _only(pods: Iterable[Pod]) -> Pod | None:
    return next(iter(pods), None)
