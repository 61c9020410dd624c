"""Events live for an hour (upstream's --event-ttl), then they go."""

from collections.abc import Iterable
from datetime import datetime, timedelta

import msgspec

from fairway.engine.apiserver.errors import ApiError
from fairway.engine.apiserver.registry import DeleteOptions, Registry, resource_of
from fairway.engine.apiserver.store import Entry
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("apiserver")

LIFETIME = timedelta(hours=1)
_EVERY_SECONDS = 60.0
_KINDS = (("", "v1", "events"),)


class _Series(msgspec.Struct, frozen=True, rename="camel"):
    last_observed_time: str | None = None


class _Metadata(msgspec.Struct, frozen=True, rename="camel"):
    creation_timestamp: str | None = None


class _Times(msgspec.Struct, frozen=True, rename="camel"):
    metadata: _Metadata
    last_timestamp: str | None = None
    series: _Series | None = None


_decode = msgspec.json.Decoder(_Times).decode


async def run(registry: Registry, clock: Clock) -> None:
    """Look once a minute, until cancelled."""
    while True:
        await clock.sleep(_EVERY_SECONDS)
        try:
            await expire(registry, clock.now())
        except ApiError as error:
            log.warning("failed to expire events", error=error)


async def expire(registry: Registry, now: datetime) -> int:
    """Delete what is too old; gives the number."""
    count = 0
    for path in _KINDS:
        kind = registry.kinds.find(*path)
        if kind is None:
            continue
        for entry in list(_old(registry.store.select(resource_of(kind)), now - LIFETIME)):
            await registry.delete(kind, entry.key.namespace, entry.key.name, DeleteOptions(uid=entry.uid))
            count += 1
    return count


def _old(entries: Iterable[Entry], before: datetime) -> Iterable[Entry]:
    return (entry for entry in entries if (seen := _last_seen(entry)) is not None and seen < before)


def _last_seen(entry: Entry) -> datetime | None:
    times = _decode(entry.data)
    series = times.series.last_observed_time if times.series else None
    known = [text for text in (times.metadata.creation_timestamp, times.last_timestamp, series) if text]
    return max((datetime.fromisoformat(text) for text in known), default=None)
