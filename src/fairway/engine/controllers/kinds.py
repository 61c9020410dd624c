"""Which kinds the API serves, custom ones among them, for controllers that treat all kinds alike."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from fairway.engine.controllers.caches import Named
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.discovery import Served, preferred
from fairway.kube.reconcile.cache import Cache
from fairway.kube.reconcile.whole import Dirty, run_whole
from fairway.toolkit.clock import Clock


class Kinds(msgspec.Struct, frozen=True):
    """Collections by what discovery said.

    `listed` can be read and emptied, `watched` can be followed too, both once in the preferred version; `by_kind` has
    every version by apiVersion and kind; `by_name` is `watched` by `plural` or `plural.group`.
    """

    listed: tuple[Resource, ...] = ()
    watched: tuple[Resource, ...] = ()
    by_kind: Mapping[tuple[str, str], Resource] = {}

    @property
    def by_name(self) -> dict[str, Resource]:
        return {name_of(kind): kind for kind in self.watched}


def name_of(kind: Resource) -> str:
    """`plural` or `plural.group`."""
    return f"{kind.plural}.{kind.group}" if kind.group else kind.plural


def kinds_of(served: Iterable[Served]) -> Kinds:
    """Sort what discovery said."""
    found = tuple(served)
    return Kinds(
        preferred(found, "list", "delete"),
        preferred(found, "list", "watch", "delete"),
        {(one.resource.api_version, one.resource.kind): one.resource for one in found if "get" in one.verbs},
    )


def is_event(kind: Resource) -> bool:
    """Events own nothing, nothing owns them, and their own time ends them."""
    return kind.plural == "events" and kind.group in ("", "events.k8s.io")


def definition_of(kind: Resource) -> ObjectKey:
    """The CustomResourceDefinition that a custom kind would come from."""
    return ObjectKey("", f"{kind.plural}.{kind.group}")


async def follow_kinds(
    room: str, client: ApiClient, definitions: Cache[Named], clock: Clock, changed: Callable[[Kinds], None]
) -> None:
    """Tell `changed` what is served, now and after each change of a CustomResourceDefinition, until cancelled."""
    dirty = Dirty()

    async def once() -> None:
        changed(kinds_of(await client.discover()))

    end = definitions.subscribe(dirty.mark)
    try:
        await run_whole(room, dirty, once, clock=clock)
    finally:
        end()
