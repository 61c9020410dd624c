"""Every path and verb of the OpenAPI document with nonsense in each place: refused or done, never an internal error."""

import json
import os
import random
from collections.abc import Iterator
from typing import Any

import pytest

from fairway.engine.apiserver.resources import KINDS

GROUPS = sorted({f"apis/{kind.group}/{kind.version}" if kind.group else "api/v1" for kind in KINDS})
METHODS = {"get": "GET", "post": "POST", "put": "PUT", "patch": "PATCH", "delete": "DELETE"}
TRIES = int(os.environ.get("FAIRWAY_FUZZ_TRIES", "6"))
NAMES = ("default", "a", "kube-system", "x" * 254, "%ff", "A", "..", "%2e%2e%2f", "%00", "-", "a%2Fb", "%25")
TYPES = (
    "application/json", "application/json", "application/json", "application/yaml",
    "application/vnd.kubernetes.protobuf", "application/merge-patch+json", "application/json-patch+json",
    "application/strategic-merge-patch+json", "application/apply-patch+yaml", "text/plain", "", "x", "a/b;c", ";", "é",
)  # fmt: skip
ACCEPTS = (
    "", "*/*", "application/json", "application/yaml", "text/html", "application/vnd.kubernetes.protobuf", ",", ";q=x",
    "application/json;as=Table;v=v1;g=meta.k8s.io", "application/json;as=PartialObjectMetadata;v=v1;g=meta.k8s.io",
    "application/json;as=PartialObjectMetadataList;v=v1;g=meta.k8s.io,application/json", "application/json;as=Nope",
)  # fmt: skip
VALUES = (
    "", "0", "1", "-1", "true", "false", "All", "Strict", "Exact", "NotOlderThan", "abc", "9" * 19, "9" * 30,
    "9" * 5000, "%ff", "a=b", "a=b,c!=d", "a+in+(b,c)", "a+in+(", "metadata.name=default", "metadata.name",
    "spec.nodeName=", "=,=", "m", "%C3%A9", "%00", "%D9%A3", "Orphan", "Foreground", "e30",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEifQ",
    "eyJ2IjoibWV0YS5rOHMuaW8vdjEiLCJydiI6LTEsInN0YXJ0IjoiIn0", "Metadata", "Object", "x" * 200,
)  # fmt: skip
PARAMETERS = (
    "resourceVersion", "resourceVersionMatch", "limit", "continue", "labelSelector", "fieldSelector",
    "allowWatchBookmarks", "sendInitialEvents", "dryRun", "fieldManager", "fieldValidation", "force", "pretty",
    "gracePeriodSeconds", "propagationPolicy", "orphanDependents", "includeObject", "container", "tailLines", "watch",
    "ignoreStoreReadErrorWithClusterBreakingPotential", "command", "ports",
)  # fmt: skip
ODD: tuple[Any, ...] = (None, [], {}, "x", "", 1, -1, 1e300, True, [None], [{}], [[]], {"": {}}, {"a": None}, "\0", "é")
RAW = (
    b"", b" ", b"null", b"true", b"0", b'""', b"[]", b"{}", b"{", b'{"a"', b"\xff\xfe", b"\0", b"\xef\xbb\xbf{}",
    b"[" * 20_000, b'{"a":' * 20_000, b'{"metadata":{"name":"\xff"}}', b'{"metadata":{"name":"\\ud800"}}', b"NaN",
    b'{"metadata":{"name":"d","name":"e"},"spec":{},"spec":{}}', b"k8s\0", b"k8s\0\x0a\xff\xff\xff\xff\x7f", b"a: [",
    b"a: &a [*a]", b"- op: add", b'[{"op":"add","path":"/metadata","value":1}]', b'[{"op":"remove","path":""}]',
    b'[{"op":"replace","path":"/metadata/labels","value":[1]},{}]', b'[{"op":"move","from":"/a","path":"/a/b"}]',
    b'[{"op":"copy","from":"","path":"/metadata/annotations"}]', b'[{"op":1}]', b'{"$patch":"delete"}',
    b'{"metadata":{"$patch":"replace"}}', b'{"metadata":{"$retainKeys":1}}', b'{"$setElementOrder/metadata":1}',
    b'{"spec":{"$deleteFromPrimitiveList/a":1}}', b'{"metadata":{"finalizers":[{"$patch":"delete"}]}}',
)  # fmt: skip
FIELDS = ("spec", "status", "data", "metadata", "kind", "apiVersion", "rules", "items")
METADATA = (
    "name", "namespace", "labels", "annotations", "finalizers", "ownerReferences", "managedFields", "generateName",
    "resourceVersion", "uid", "generation", "creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds",
)  # fmt: skip


class Chance:
    """Nonsense for every part of a request; the same for the same seed."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def path(self, template: str) -> str:
        while "{" in template:
            start, end = template.index("{"), template.index("}")
            name = "default" if self.random.random() < 0.6 else self.random.choice(NAMES)
            template = template[:start] + name + template[end + 1 :]
        return template

    def query(self) -> str:
        names = self.random.sample(PARAMETERS, self.random.choice((0, 0, 1, 1, 2, 4)))
        pairs = [f"{name}={self.random.choice(VALUES)}" for name in names]
        return "&".join(("timeoutSeconds=-1", *pairs))  # a watch that begins nevertheless ends at once

    def body(self, operation: Any) -> bytes:
        if self.random.random() < 0.4:
            return self.random.choice(RAW)
        which = operation.get("x-kubernetes-group-version-kind") or {}
        group = f"{which.get('group')}/" if which.get("group") else ""
        obj: dict[str, Any] = {"kind": which.get("kind"), "apiVersion": f"{group}{which.get('version')}"}
        obj["metadata"] = {"name": "default", **{key: self.odd() for key in self.random.sample(METADATA, 2)}}
        for key in self.random.sample(
            ("spec", "status", "data", "metadata", "kind", "apiVersion", "rules", "items"), 2
        ):
            obj[key] = self.odd()
        return json.dumps(obj).encode()

    def odd(self) -> Any:
        return self.random.choice(ODD)


async def operations(api: Any, group: str) -> list[tuple[str, str, Any]]:
    """(path, method, operation) of all that a group's document has."""
    document = await api.get(f"/openapi/v3/{group}")
    return [
        (path, method, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


def attempts(found: list[tuple[str, str, Any]]) -> Iterator[tuple[str, str, bytes | None, dict[str, str]]]:
    for path, method, operation in found:
        chance = Chance(f"{method} {path}")
        for _ in range(TRIES):
            url = f"{chance.path(path)}?{chance.query()}"
            body = None if method == "get" else chance.body(operation)
            headers = {"content": chance.random.choice(TYPES), "accept": chance.random.choice(ACCEPTS)}
            yield METHODS[method], url, body, headers


@pytest.mark.parametrize("group", GROUPS)
async def test_no_path_answers_with_a_defect(api: Any, group: str) -> None:
    found = await operations(api, group)
    for method, url, body, headers in attempts(found):
        answer = await api.call(method, url, body, headers["content"], Accept=headers["accept"])
        assert not is_defect(answer), (method, url[:300], headers, (body or b"")[:300], answer.body[:300])


def is_defect(answer: Any) -> bool:
    """A revision from the future is a 504, a kubelet that is not there a 5xx, a misfit of server-side apply a 500."""
    return b"unexpected error" in answer.body or (answer.status == 500 and b"failed to create" not in answer.body)


async def test_everything_still_works_after_that(api: Any) -> None:
    for group in ("api/v1", "apis/apps/v1"):
        for method, url, body, headers in attempts(await operations(api, group)):
            await api.call(method, url, body, headers["content"], Accept=headers["accept"])
    path = "/api/v1/namespaces/default/configmaps"
    await api.create(path, {"metadata": {"name": "still-here"}})
    assert (await api.get(f"{path}/still-here"))["metadata"]["name"] == "still-here"
