"""Remembered clients when a sticky pool changes: who stays, moves with its backend, or is forgotten.

The kernel remembers the index of a backend.  After a change an index may mean another backend, so the entries of
clients whose backend moved are rewritten, and those of clients whose backend is gone are removed.
"""

from collections.abc import Iterable, Iterator

from fairway.engine.serviceproxy import render
from fairway.engine.serviceproxy.ir import Frontend, Pool
from fairway.engine.serviceproxy.listing import Client
from fairway.engine.serviceproxy.plan import Change, SetPool


def moving(changes: Iterable[Change]) -> dict[Frontend, SetPool]:
    """The changes that make indexes mean something else."""
    return {change.frontend: change for change in changes if isinstance(change, SetPool) and _shifts(change)}


def statements(table: str, clients: Iterable[Client], changes: dict[Frontend, SetPool]) -> Iterator[str]:
    """Script lines that keep every client on its backend, as far as that is still there."""
    for client in clients:
        change = changes.get(client.frontend)
        if change is None or change.old is None:
            continue
        index = _index_after(client.index, change.old, change.new)
        if index == client.index:
            continue
        name = "affinity" if client.frontend.address else "node-affinity"
        key = f"{render.target(client.frontend)} . {client.source}"
        yield f"delete element ip {table} {name} {{ {key} }}"
        if index is not None and change.new is not None:
            life = f"timeout {change.new.affinity_seconds}s expires {max(client.expires_seconds, 1)}s"
            yield f"add element ip {table} {name} {{ {key} {life} : {index} }}"


def _shifts(change: SetPool) -> bool:
    if change.old is None or not change.old.affinity_seconds:
        return False
    return change.new is None or change.new.backends[: len(change.old.backends)] != change.old.backends


def _index_after(index: int, old: Pool, new: Pool | None) -> int | None:
    if new is None or not new.affinity_seconds or index >= len(old.backends):
        return None
    backend = old.backends[index]
    return new.backends.index(backend) if backend in new.backends else None
