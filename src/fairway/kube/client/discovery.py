"""What aggregated discovery says: which kinds are served, and what can be done with them."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec

from fairway.kube.api.resource import Resource


class Served(msgspec.Struct, frozen=True):
    """One kind in one version, and the verbs that its collection takes."""

    resource: Resource
    verbs: frozenset[str]


def served_of(group: Mapping[str, Any]) -> Iterator[Served]:
    """The kinds of an APIGroupDiscovery (apidiscovery.k8s.io/v2), the preferred version first."""
    name = group["metadata"].get("name", "")
    for version in group.get("versions") or ():
        for one in version.get("resources") or ():
            kind = (one.get("responseKind") or {}).get("kind", "")
            namespaced = one.get("scope") == "Namespaced"
            resource = Resource(name, version["version"], one["resource"], kind, namespaced)
            yield Served(resource, frozenset(one.get("verbs") or ()))


def preferred(served: Iterable[Served], *verbs: str) -> tuple[Resource, ...]:
    """Each collection once, in the best version that takes all these verbs."""
    found: dict[tuple[str, str], Resource] = {}
    for one in served:
        if one.verbs.issuperset(verbs):
            found.setdefault((one.resource.group, one.resource.plural), one.resource)
    return tuple(found.values())
