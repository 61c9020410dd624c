"""The kinds that are served, found by what URLs and store keys call them."""

from collections.abc import Iterable

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.errors import Subject
from fairway.engine.apiserver.resources import Kind


def resource_of(kind: Kind) -> str:
    """What store keys call the kind: `pods`, `apps/deployments`."""
    return kind.stored_as or (f"{kind.group}/{kind.plural}" if kind.group else kind.plural)


def subject_of(kind: Kind, name: str = "") -> Subject:
    """What errors call an object of the kind."""
    return Subject(kind.group, kind.plural, name, kind.kind)


class Kinds:
    """A lookup over a table of kinds. Kinds of CRDs join and leave through `replace`."""

    def __init__(self, kinds: Iterable[Kind], schemas: schema.Schemas) -> None:
        self.schemas = schemas
        self.all: tuple[Kind, ...] = ()
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self._versions: frozenset[tuple[str, str]] = frozenset()
        self.replace(kinds)

    def replace(self, kinds: Iterable[Kind]) -> None:
        """Serve these kinds from now on."""
        self.all = tuple(kinds)
        self._by_path = {(kind.group, kind.version, kind.plural): kind for kind in self.all}
        self._versions = frozenset((kind.group, kind.version) for kind in self.all)

    def find(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def serves(self, group: str, version: str) -> bool:
        """Whether there is any kind of this group and version."""
        return (group, version) in self._versions

    def group_versions(self) -> list[tuple[str, str]]:
        """(group, version) of all kinds; the core group first, then in the table's order."""
        found = dict.fromkeys((kind.group, kind.version) for kind in self.all)
        return sorted(found, key=lambda pair: pair[0] != "")

    def type(self, kind: Kind) -> schema.Type | None:
        """The structure of the kind's objects, or None when it is not described; older reviews are as those of v1."""
        if kind.custom is not None:
            return kind.custom.type
        own = self.schemas.kind(kind.group, kind.version, kind.kind)
        return own if own is not None or kind.list_kind else self.schemas.kind(kind.group, "v1", kind.kind)
