"""The schema of one version of a CRD, ready for use."""

from typing import Any

from msgspec import Struct

from fairway.engine.apiserver.schema.check import Cause
from fairway.engine.apiserver.schema.custom.check import check
from fairway.engine.apiserver.schema.custom.defaults import fill
from fairway.engine.apiserver.schema.custom.merging import merge_type
from fairway.engine.apiserver.schema.custom.node import UNSET, Node, Raw, build
from fairway.engine.apiserver.schema.custom.prune import prune
from fairway.engine.apiserver.schema.custom.rules import Rules, compile_rules
from fairway.engine.apiserver.schema.types import Type


class Compiled(Struct, frozen=True, eq=False):
    """`raw` is the `openAPIV3Schema`; `type` is what server-side apply merges by."""

    raw: Raw
    node: Node
    type: Type
    rules: Rules | None

    def fit(self, obj: dict[str, Any]) -> list[str]:
        """Prune an object and fill in defaults, in place; returns the paths of what was pruned."""
        unknown = prune(self.node, obj)
        fill(self.node, obj)
        return unknown

    def validate(self, new: dict[str, Any], old: dict[str, Any] | None) -> list[Cause]:
        """Every cause of refusal; `old` is None on create."""
        before = UNSET if old is None else old
        found = check(self.node, new, before)
        return found if self.rules is None else found + self.rules.check(new, before, found)


def compile_schema(raw: Raw, metadata: Type) -> Compiled:
    """`metadata` is the type of ObjectMeta.  Raises ValueError for rules that are not CEL."""
    node = build(raw)
    return Compiled(raw, node, merge_type(node, metadata), compile_rules(node))
