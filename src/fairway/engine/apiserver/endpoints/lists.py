"""List: everything, a page, or the state of a past revision."""

import asyncio
import base64
import binascii
from collections.abc import Sequence

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints.encoding import ListMeta
from fairway.engine.apiserver.endpoints.queries import ListOptions
from fairway.engine.apiserver.registry import Filter, Registry, resource_of
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store import Entry, Expired, Store

FRESHNESS_SECONDS = 3.0
"""How long a request waits for a revision that is not there yet, as upstream's watch cache."""

_TOO_OLD = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without "
    "the continue parameter, or use the continue token in this response to retrieve the remainder of the results. "
    "Continuing with the provided token results in an inconsistent list - objects that were created, modified, or "
    "deleted between the time the first chunk was returned and now may show up in the list."
)


class Page(msgspec.Struct, frozen=True):
    """Entries and the metadata that goes with them."""

    entries: Sequence[Entry]
    meta: ListMeta


class Continue(msgspec.Struct, frozen=True):
    """Where a list goes on: a revision (-1: now, though pages before showed an older state) and a key to start at."""

    v: str
    rv: int
    start: str


async def fresh(store: Store, revision: int) -> None:
    """Wait a little for a revision from the future. Raises ApiError 504."""
    try:
        async with asyncio.timeout(FRESHNESS_SECONDS):
            await store.reached(revision)
    except TimeoutError:
        raise errors.too_large_revision(revision, store.revision) from None


def page(registry: Registry, kind: Kind, namespace: str | None, wanted: Filter, options: ListOptions) -> Page:
    """One page. Raises ApiError 400 and 410."""
    store = registry.store
    revision, start = store.revision, ""
    if options.continue_:
        token = _decode(options)
        revision, start = (store.revision if token.rv < 0 else token.rv), token.start
    elif options.match == "Exact" and options.revision:
        revision = options.revision
    entries = _at(registry, kind, namespace, wanted, revision, start)
    if start:
        entries = [entry for entry in entries if _place(entry) >= start]
    return _cut(entries, options.limit, revision, count_rest=wanted.everything)


def _at(
    registry: Registry, kind: Kind, namespace: str | None, wanted: Filter, revision: int, start: str
) -> Sequence[Entry]:
    store = registry.store
    if revision >= store.revision:
        return registry.select(kind, namespace, wanted)
    try:
        entries = store.select_at(resource_of(kind), namespace, revision)
    except Expired as error:
        if start:
            raise errors.expired(_TOO_OLD, _encode(-1, start)) from error
        raise errors.expired(str(error)) from error
    return [entry for entry in entries if wanted.matches(kind, entry)]


def _cut(entries: Sequence[Entry], limit: int, revision: int, *, count_rest: bool) -> Page:
    if limit <= 0 or len(entries) <= limit:
        return Page(entries, ListMeta(str(revision)))
    token = _encode(revision, _place(entries[limit - 1]) + "\0")
    rest = len(entries) - limit if count_rest else None
    return Page(entries[:limit], ListMeta(str(revision), token, rest))


def _place(entry: Entry) -> str:
    """Sorts like (namespace, name): no name contains what sorts below the separator."""
    return f"{entry.key.namespace}\1{entry.key.name}"


def _encode(revision: int, start: str) -> str:
    token = msgspec.json.encode(Continue("meta.k8s.io/v1", revision, start))
    return base64.urlsafe_b64encode(token).rstrip(b"=").decode()


def _decode(options: ListOptions) -> Continue:
    if options.revision:
        raise errors.bad_request("specifying resource version is not allowed when using continue")
    text = options.continue_
    try:
        return msgspec.json.decode(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4)), type=Continue)
    except (binascii.Error, msgspec.MsgspecError, ValueError) as error:
        raise errors.bad_request(f"continue key is not valid: {error}") from error
