"""Read the compiled schema of the built-in kinds and link its types on demand."""

from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Final

import msgspec

from fairway.engine.apiserver.schema.types import ACCEPTS, LEAVES, Shape, Type

_PLAIN_RULES: Final[dict[str, Any]] = {}


class Schemas:
    """The built-in kinds; a type is linked when it is first asked for, so that starting costs only the reading."""

    def __init__(self, version: str, kinds: dict[tuple[str, str, str], str], definitions: dict[str, Any]) -> None:
        self.version = version
        self._kinds = kinds
        self._definitions = definitions
        self._linked: dict[str, Type] = {}

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """The group, version and kind of each built-in kind."""
        return iter(self._kinds)

    def names(self) -> Iterator[str]:
        """Of every definition."""
        return iter(self._definitions)

    def kind(self, group: str, version: str, kind: str) -> Type | None:
        """The type of a kind, or None when it is not a built-in one."""
        name = self._kinds.get((group, version, kind))
        return None if name is None else self.named(name)

    def named(self, name: str) -> Type:
        """The type of a definition, such as `io.k8s.api.core.v1.PodSpec`.  Raises KeyError when there is none."""
        known = self._linked.get(name)
        return known if known is not None else self._link(name)

    def kinds(self, group: str, version: str) -> dict[str, str]:
        """Each kind of one group and version, with the name of its definition."""
        return {key[2]: name for key, name in self._kinds.items() if key[:2] == (group, version)}

    def marks(self, name: str) -> tuple[tuple[str, str, str], ...]:
        """The (group, version, kind) triples that one definition serves; DeleteOptions serves many."""
        return tuple(key for key, known in self._kinds.items() if known == name)

    def _link(self, name: str) -> Type:
        definition = self._definitions[name]
        fields: dict[str, Type] = {}
        rules = definition.get("rules", _PLAIN_RULES)
        linked = Type(
            shape=Shape.OBJECT if "fields" in definition else Shape.ANY,
            accepts=ACCEPTS[Shape.OBJECT],
            plain="fields" not in definition,
            name=name,
            fields=fields,
            required=tuple(definition.get("required", ())),
            always=tuple(definition.get("always", ())),
            atomic=rules.get("map") == "atomic",
        )
        self._linked[name] = linked  # before its fields, which may refer back to it
        for field, expression in definition.get("fields", {}).items():
            fields[field] = self._build(expression)
        return linked

    def _build(self, expression: Any) -> Type:
        if isinstance(expression, str):
            return LEAVES[expression]
        rules = expression[2] if len(expression) > 2 else _PLAIN_RULES
        if expression[0] == "ref":
            return _ruled(self.named(expression[1]), rules)
        return _container(expression[0], self._build(expression[1]), rules)


def _ruled(type: Type, rules: dict[str, Any]) -> Type:
    """A named type as one field sees it: atomic there, or keeping only the retained keys."""
    if not rules:
        return type
    atomic = rules["map"] == "atomic" if "map" in rules else type.atomic
    return msgspec.structs.replace(type, atomic=atomic, retain_keys="retain" in rules)


def _container(word: str, items: Type, rules: dict[str, Any]) -> Type:
    shape = Shape(word)
    return Type(
        shape=shape,
        accepts=ACCEPTS[shape],
        plain=False,
        items=items,
        # A list whose type is not named is replaced whole: structured-merge-diff's default.
        atomic=rules.get("map") == "atomic" or (shape is Shape.LIST and rules.get("list", "atomic") == "atomic"),
        unique=rules.get("list") == "set",
        keys=tuple(rules.get("keys", ())),
        key_defaults=rules.get("defaults", {}),
        merge="merge" in rules,
        merge_key=rules.get("key", ""),
        retain_keys="retain" in rules,
    )


def load() -> Schemas:
    """The schema packed with the program (`types.msgpack`, made by tools/compile_schema.py)."""
    packed = files("fairway.engine.apiserver.schema").joinpath("types.msgpack").read_bytes()
    content = msgspec.msgpack.decode(packed)
    kinds = {(group, version, kind): name for group, version, kind, name in content["kinds"]}
    return Schemas(content["version"], kinds, content["types"])
