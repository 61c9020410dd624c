"""One level of a structural schema, parsed once, so that walks over values look nothing up in raw documents."""

from collections.abc import Callable, Mapping
from typing import Any, Final

from msgspec import Struct

from fairway.engine.apiserver.schema.custom.formats import FORMATS
from fairway.toolkit.expressions import matcher

Raw = Mapping[str, Any]

UNSET: Final[Any] = object()
META_FIELDS: Final = ("apiVersion", "kind", "metadata")


class Node(Struct, frozen=True, eq=False, kw_only=True):
    """A schema (JSONSchemaProps of apiextensions.k8s.io/v1).

    `values` is the schema of `additionalProperties`; `extra` says whether members without a schema may exist at all
    (`additionalProperties` is there, maybe as `true`). `default` is UNSET where there is none. The junctors hold value
    validations only.
    """

    type: str = ""
    types: tuple[str, ...] = ()
    """What a value may be: more than one for int-or-string, none for anything."""
    nullable: bool = False
    fields: dict[str, "Node"] = {}
    values: "Node | None" = None
    extra: bool = False
    items: "Node | None" = None
    required: tuple[str, ...] = ()
    default: Any = UNSET
    preserve: bool = False
    embedded: bool = False
    int_or_string: bool = False
    list_type: str = ""
    list_keys: tuple[str, ...] = ()
    map_type: str = ""
    enum: tuple[Any, ...] | None = None
    pattern: str = ""
    matches: Callable[[str], bool] | None = None
    format: str = ""
    limits: dict[str, Any] = {}
    """minimum, maxLength … as written."""
    all_of: tuple["Node", ...] = ()
    any_of: tuple["Node", ...] = ()
    one_of: tuple["Node", ...] = ()
    not_: "Node | None" = None
    rules: tuple[Raw, ...] = ()
    """`x-kubernetes-validations`."""

    def member(self, key: str) -> "Node | None":
        """The schema of one member, or None."""
        return self.fields.get(key) or self.values


_LIMITS: Final = (
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "minItems",
    "maxItems",
    "uniqueItems",
    "minProperties",
    "maxProperties",
)


def build(raw: Raw) -> Node:
    """A node and all below it; `raw` was found sound before."""
    kind = str(raw.get("type") or "")
    int_or_string = bool(raw.get("x-kubernetes-int-or-string"))
    values = raw.get("additionalProperties")
    pattern = str(raw.get("pattern") or "")
    list_type = str(raw.get("x-kubernetes-list-type") or "")
    return Node(
        type=kind,
        types=("integer", "string") if int_or_string else (kind,) if kind else (),
        nullable=bool(raw.get("nullable")),
        fields={name: build(field) for name, field in (raw.get("properties") or {}).items()},
        values=build(values) if isinstance(values, dict) else None,
        extra=values is not None and values is not False,
        items=build(raw["items"]) if isinstance(raw.get("items"), dict) else None,
        required=tuple(raw.get("required") or ()),
        default=raw["default"] if raw.get("default") is not None else UNSET,
        preserve=bool(raw.get("x-kubernetes-preserve-unknown-fields")),
        embedded=bool(raw.get("x-kubernetes-embedded-resource")),
        int_or_string=int_or_string,
        list_type=list_type,
        list_keys=tuple(raw.get("x-kubernetes-list-map-keys") or ()),
        map_type=str(raw.get("x-kubernetes-map-type") or ""),
        enum=tuple(raw["enum"]) if raw.get("enum") else None,
        pattern=pattern,
        matches=matcher(pattern) if pattern else None,
        format=str(raw.get("format") or "") if raw.get("format") in FORMATS else "",
        limits={name: raw[name] for name in _LIMITS if raw.get(name) is not None},
        all_of=_nodes(raw, "allOf"),
        any_of=_nodes(raw, "anyOf"),
        one_of=_nodes(raw, "oneOf"),
        not_=build(raw["not"]) if raw.get("not") else None,
        rules=tuple(raw.get("x-kubernetes-validations") or ()),
    )


def _nodes(raw: Raw, key: str) -> tuple[Node, ...]:
    return tuple(build(item) for item in raw.get(key) or ())
