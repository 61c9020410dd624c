"""All routes in their order, put in a row only for who wants them so."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import chain
from typing import Any

from fairway.edge.ir import Route


class TableOfRoutes(Sequence[Route]):
    """The routes of all hosts, by host; equal to a tuple of the same."""

    __slots__ = ("_by_host",)

    def __init__(self, by_host: Mapping[str, tuple[Route, ...]]) -> None:
        self._by_host = by_host

    def __iter__(self) -> Iterator[Route]:
        return chain.from_iterable(self._by_host[host] for host in sorted(self._by_host))

    def __len__(self) -> int:
        return sum(map(len, self._by_host.values()))

    def __getitem__(self, place: Any) -> Any:
        return tuple(self)[place]

    def __eq__(self, other: object) -> bool:
        if isinstance(other, TableOfRoutes):
            return self._by_host == other._by_host
        return isinstance(other, tuple) and tuple(self) == other

    __hash__ = None  # type: ignore[assignment]  # how Python says "not hashable"
