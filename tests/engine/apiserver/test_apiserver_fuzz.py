"""Bodies that fit the schema but make no sense, for every kind: refused or stored, never an internal error."""

import json
import random
from typing import Any

import pytest

from fairway.engine.apiserver import schema
from fairway.engine.apiserver.resources import KINDS
from fairway.engine.apiserver.resources.kind import Kind
from fairway.engine.apiserver.schema import Shape, Type

SCHEMAS = schema.load()
TABLE = "application/json;as=Table;v=v1;g=meta.k8s.io"
TEXTS = (
    "",
    "a",
    "A B",
    "x" * 300,
    "a/b",
    "1",
    "-1",
    "0",
    "100m",
    "50%",
    "10.96.0.5",
    "ClusterIP",
    "None",
    "é\n",
    "a.b",
)
NUMBERS = (0, 1, -1, 80, 30001, 2**31 - 1, -(2**31))


class Nonsense:
    """Random values of a type; deterministic for a seed."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def value(self, type: Type, depth: int = 0) -> Any:
        chance = self.random.random()
        if chance < 0.04:
            return None
        match type.shape:
            case Shape.OBJECT:
                return self.fields(type, depth)
            case Shape.MAP:
                return {self.text(): self.value(type.items or type, depth + 1) for _ in range(self.count(depth))}
            case Shape.LIST:
                return [self.value(type.items or type, depth + 1) for _ in range(self.count(depth))]
        return self.scalar(type.shape)

    def fields(self, type: Type, depth: int) -> dict[str, Any]:
        share = 0.9 if depth < 3 else 0.35 if depth < 8 else 0.0
        chosen = [key for key in type.fields if key in type.required or self.random.random() < share / (1 + depth / 4)]
        return {key: self.value(type.fields[key], depth + 1) for key in chosen}

    def count(self, depth: int) -> int:
        return self.random.choice((0, 1, 1, 2)) if depth < 9 else 0

    def text(self) -> str:
        return self.random.choice(TEXTS)

    def scalar(self, shape: Shape) -> Any:
        match shape:
            case Shape.BOOLEAN:
                return self.random.random() < 0.5
            case Shape.INT32 | Shape.INT64:
                return self.random.choice(NUMBERS)
            case Shape.FLOAT64:
                return 1.5
            case Shape.BYTES:
                return self.random.choice(("", "YQ==", "!"))
            case Shape.QUANTITY:
                return self.random.choice(("1", "100m", "1Gi", "-1", 2, ""))
            case Shape.INT_OR_STRING:
                return self.random.choice((*NUMBERS, "25%", "x"))
            case Shape.TIME:
                return self.random.choice(("2026-01-01T00:00:00Z", "2026-01-01T00:00:00Z"))
            case Shape.MICROTIME:
                return "2026-01-01T00:00:00.000000Z"
            case Shape.STRING:
                return self.text()
        return self.random.choice(({}, [], "x", 1, {"a": 1}))


def collection(kind: Kind) -> str:
    root = f"/apis/{kind.group}/{kind.version}" if kind.group else f"/api/{kind.version}"
    return f"{root}/namespaces/default/{kind.plural}" if kind.namespaced else f"{root}/{kind.plural}"


def named(obj: Any, kind: Kind, name: str) -> dict[str, Any]:
    metadata = obj.get("metadata") or {}
    kept = {key: metadata[key] for key in ("labels", "annotations", "ownerReferences", "finalizers") if key in metadata}
    return {**obj, "kind": kind.kind, "apiVersion": kind.api_version, "metadata": {**kept, "name": name}}


@pytest.mark.parametrize(
    "kind", [kind for kind in KINDS if "create" in kind.verbs], ids=lambda kind: f"{kind.group or 'core'}-{kind.plural}"
)
async def test_nonsense_is_answered(api: Any, kind: Kind) -> None:
    structure = SCHEMAS.kind(kind.group, kind.version, kind.kind) or SCHEMAS.kind(kind.group, "v1", kind.kind)
    assert structure is not None
    nonsense, path = Nonsense(7), collection(kind)
    for number in range(40):
        obj = named(nonsense.value(structure) or {}, kind, f"n{number}")
        await answered(api, "POST", path, obj)
        await answered(api, "POST", path, json.dumps(obj).encode()[:-3])
        other = named(nonsense.value(structure) or {}, kind, f"n{number}")
        await answered(api, "PUT", f"{path}/n{number}", other)
        await answered(api, "PATCH", f"{path}/n{number}", other, "application/strategic-merge-patch+json")
        await answered(api, "PATCH", f"{path}/n{number}", other, "application/merge-patch+json")
        apply = f"{path}/n{number}?fieldManager=m&force=true"
        await answered(api, "PATCH", apply, obj, "application/apply-patch+yaml")
        if "status" in kind.subresources:
            await answered(api, "PUT", f"{path}/n{number}/status", other)
    await answered(api, "GET", path, None, Accept=TABLE)
    await answered(api, "DELETE", path, {"propagationPolicy": "Foreground"})


async def answered(
    api: Any, method: str, path: str, body: Any, content: str = "application/json", **headers: str
) -> None:
    answer = await api.call(method, path, body, content, **headers)
    # a server-side apply that does not fit its type is a 500 upstream, too; a defect is another
    assert b"unexpected error" not in answer.body, (method, path, body)
