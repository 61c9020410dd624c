"""The annotations of one Ingress, read by the table, to its settings."""

from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from fairway.edge.translate.checks import Refused
from fairway.edge.translate.settings import Settings
from fairway.edge.translate.table import ALIASES, DEPRECATED, OWN_PREFIX, PREFIX, TABLE, Annotation, How
from fairway.kube.api.meta import ObjectKey

_CHARACTERS_MAX = 16 * 1024
_NOBODY = ObjectKey("", "")
_FIELDS = frozenset(Settings.__struct_fields__)


class Reading(msgspec.Struct, frozen=True):
    """The settings; what was refused (its setting keeps the default); warnings with their reasons."""

    settings: Settings
    refused: tuple[Refused, ...]
    warnings: tuple[tuple[str, str], ...]


def read(annotations: Mapping[str, str], owner: ObjectKey = _NOBODY) -> Reading:
    """Everything of ingress-nginx and of Fairway among `annotations`; the rest is not looked at."""
    fields: dict[str, Any] = {"owner": owner}
    refused: list[Refused] = []
    warnings: list[tuple[str, str]] = []
    for name, text in sorted(annotations.items(), key=_aliases_first):
        if not name.startswith((PREFIX, OWN_PREFIX)):
            continue
        row = TABLE.get(name)
        if row is None:
            warnings += _unknown(name)
            continue
        try:
            value = _value(row, text)
        except Refused as error:
            _mistake(row, name, text, error, fields, refused, warnings)
            continue
        warnings += _said(row, name, value)
        if row.field in _FIELDS:
            fields[row.field] = value
    return Reading(Settings(**fields), tuple(refused), tuple(warnings))


def _aliases_first(item: tuple[str, str]) -> tuple[bool, str]:
    """So that the real name has the last word."""
    return item[0].removeprefix(PREFIX) not in ALIASES, item[0]


def _value(row: Annotation, text: str) -> Any:
    if len(text) > _CHARACTERS_MAX:
        raise Refused(f"{len(text)} characters are more than {_CHARACTERS_MAX}")
    return row.read(text.strip())


def _mistake(
    row: Annotation,
    name: str,
    text: str,
    error: Refused,
    fields: dict[str, Any],
    refused: list[Refused],
    warnings: list[tuple[str, str]],
) -> None:
    """A value that cannot be read refuses the Ingress where it would mean something."""
    message = f"annotation {name}: {error}"
    if row.how is How.HARMLESS:
        warnings.append(("InvalidAnnotation", f"{message}; it would have no effect anyway"))
        return
    if row.protects and (row.protects_with is None or row.protects_with.search(text)):
        fields["closed"] = True
        message += "; nobody is let in meanwhile"
    refused.append(Refused(message))


def _said(row: Annotation, name: str, value: Any) -> Iterator[tuple[str, str]]:
    if value in row.idle:
        return
    if row.how is How.REFUSED:
        yield "UnsupportedAnnotation", f"annotation {name} is not supported and has no effect; use {row.note}"
    elif row.how is How.PARTIAL and not _complete(row.name, value):
        yield "PartialAnnotation", f"annotation {name} is obeyed in part: {row.note}"


def _complete(name: str, value: Any) -> bool:
    """Whether a value is among what works of an annotation that works in part."""
    if name == "proxy-next-upstream":
        return not {"http_403", "http_429", "non_idempotent"} & set(value)
    if name == "configuration-snippet":
        return all(one.flag != "last" for one in value)
    return False


def _unknown(name: str) -> Iterator[tuple[str, str]]:
    instead = DEPRECATED.get(name.removeprefix(PREFIX))
    if instead:
        yield "UnsupportedAnnotation", f"annotation {name} is of an older version and has no effect; use {instead}"
    else:
        yield "UnsupportedAnnotation", f"annotation {name} is not known and has no effect"
