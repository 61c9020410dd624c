"""Which objects a list or watch is about: label and field selectors."""

import re
from functools import lru_cache

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.resources import Kind
from fairway.engine.apiserver.store import Entry
from fairway.kube.api import selectors

_NAME, _NAMESPACE = "metadata.name", "metadata.namespace"
_TERM = re.compile(r"^\s*([^=!\s]+)\s*(==|=|!=)\s*(.*?)\s*$")


class FieldTerm(msgspec.Struct, frozen=True):
    """`field=value`, or `field!=value` when not `equal`."""

    field: str
    value: str
    equal: bool = True


class Filter(msgspec.Struct, frozen=True):
    """All terms must hold. Empty: everything matches."""

    labels: selectors.Selector = selectors.Selector()
    fields: tuple[FieldTerm, ...] = ()

    @property
    def everything(self) -> bool:
        return not self.labels.requirements and not self.fields

    @property
    def name(self) -> str:
        """The one name that can match, or an empty string when there may be several."""
        return next((term.value for term in self.fields if term.field == _NAME and term.equal), "")

    def matches(self, kind: Kind, entry: Entry) -> bool:
        if self.labels.requirements and not self.labels.matches(entry.labels):
            return False
        return all((_value(kind, entry, term.field) == term.value) is term.equal for term in self.fields)


EVERYTHING = Filter()


def parse(kind: Kind, labels: str, fields: str) -> Filter:
    """From the query's `labelSelector` and `fieldSelector`. Raises ApiError 400."""
    if not labels and not fields:
        return EVERYTHING
    terms = _parse_fields(fields)
    known = _known(kind)
    for term in terms:
        if term.field not in known:
            raise errors.bad_request(f"field label not supported: {term.field}")
    return Filter(_parse_labels(labels), terms)


def _value(kind: Kind, entry: Entry, field: str) -> str:
    if field == _NAME:
        return entry.key.name
    if field == _NAMESPACE:
        return entry.key.namespace
    found = entry.fields
    if found is None:
        found = entry.index(kind.selectable(entry.object()))
    return found.get(field, "")


def _known(kind: Kind) -> frozenset[str]:
    common = (_NAME, _NAMESPACE) if kind.namespaced else (_NAME,)
    return frozenset((*common, *kind.selectable({"metadata": {}})))


@lru_cache(maxsize=1024)
def _parse_labels(text: str) -> selectors.Selector:
    try:
        return selectors.parse(text)
    except ValueError as error:
        raise errors.bad_request(str(error)) from error


@lru_cache(maxsize=1024)
def _parse_fields(text: str) -> tuple[FieldTerm, ...]:
    return tuple(_term(part, text) for part in re.split(r"(?<!\\),", text) if part.strip())


def _term(part: str, text: str) -> FieldTerm:
    match = _TERM.match(part)
    if match is None:
        raise errors.bad_request(f"invalid selector: '{text}'; can't understand '{part}'")
    value = re.sub(r"\\([\\,=])", r"\1", match[3])
    return FieldTerm(match[1], value, match[2] != "!=")
