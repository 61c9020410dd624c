"""What of manifests the edge obeys, line by line: the same reading and translation as in service, and nothing else."""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import msgspec
import yaml

from fairway.edge.ir import Problem
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.translate import annotations
from fairway.edge.translate.classes import ANNOTATION, CONTROLLER
from fairway.edge.translate.table import OWN_PREFIX, PREFIX, TABLE, How
from fairway.edge.translate.translation import translate
from fairway.kube.api.meta import ObjectKey

_ELSEWHERE = frozenset(
    {
        "ExternalNameService",
        "InvalidCertificate",
        "InvalidReference",
        "SecretNotFound",
        "ServiceNotFound",
        "ServicePortNotFound",
    }
)
"""Problems with objects that a manifest need not hold."""

_LEVELS = {How.NATIVE: "native", How.LUA: "native", How.HARMLESS: "harmless"}


class Finding(msgspec.Struct, frozen=True):
    """One thing of one Ingress: `level` is native, harmless, partial or refused. `line` is 0 where there is none."""

    line: int
    ingress: ObjectKey
    level: str
    subject: str
    message: str


class Located(msgspec.Struct, frozen=True):
    """A raw object, where it begins, and where its annotations stand."""

    line: int
    raw: Mapping[str, Any]
    lines: Mapping[str, int]


def lint(text: str) -> tuple[Finding, ...]:
    """Findings about the Ingresses of YAML or JSON, in order of lines. Raises YAMLError, ValidationError."""
    located = tuple(_objects(text))
    found = {_key(one.raw): one for one in located if one.raw.get("kind") == "Ingress"}
    snapshot = assumed(one.raw for one in located)
    findings = [finding for key, one in found.items() for finding in _annotations(key, one)]
    for problem in translate(snapshot).problems:
        if problem.reason not in _ELSEWHERE and problem.ingress in found and not _about_annotation(problem):
            findings.append(_problem(problem, found[problem.ingress].line))
    return tuple(sorted(findings, key=lambda finding: finding.line))


def lint_snapshot(snapshot: Snapshot) -> tuple[Finding, ...]:
    """The same for what a cluster holds; there are no lines, but missing objects are found."""
    findings: list[Finding] = []
    for ingress in snapshot.ingresses.values():
        raw = {"metadata": {"annotations": ingress.metadata.annotations}}
        findings += _annotations(ingress.metadata.key, Located(0, raw, {}))
    problems = translate(snapshot).problems
    return (*findings, *(_problem(problem, 0) for problem in problems if not _about_annotation(problem)))


def _annotations(key: ObjectKey, one: Located) -> Iterator[Finding]:
    for name, text in (one.raw["metadata"].get("annotations") or {}).items():
        if name.startswith((PREFIX, OWN_PREFIX)):
            level, message = judge(name, str(text))
            yield Finding(one.lines.get(name, one.line), key, level, name, message)


def judge(name: str, text: str) -> tuple[str, str]:
    """How far one annotation is obeyed, and why not further."""
    reading = annotations.read({name: text})
    prefix = f"annotation {name}"
    if reading.refused:
        return "refused", str(reading.refused[0]).removeprefix(prefix).lstrip(": ")
    row = TABLE.get(name)
    for reason, message in reading.warnings:
        partial = reason == "PartialAnnotation" or (row is not None and row.how is How.HARMLESS)
        return "partial" if partial else "refused", message.removeprefix(prefix).lstrip(": ")
    return (_LEVELS.get(row.how, "native"), row.note) if row else ("native", "")


def _problem(problem: Problem, line: int) -> Finding:
    level = "refused" if problem.refused else "partial"
    return Finding(line, problem.ingress, level, problem.reason, problem.message)


def _about_annotation(problem: Problem) -> bool:
    return problem.message.startswith("annotation ")


def assumed(objects: Iterable[Mapping[str, Any]]) -> Snapshot:
    """A cluster of these objects in which every class that is named is ours. Raises msgspec.ValidationError."""
    raws = tuple(objects)
    return of_manifests([*_classes(raw for raw in raws if raw.get("kind") == "Ingress"), *raws])


def _classes(ingresses: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
    names = {"nginx"}
    for raw in ingresses:
        names.add(str((raw.get("spec") or {}).get("ingressClassName") or "nginx"))
        names.add(str((raw["metadata"].get("annotations") or {}).get(ANNOTATION, "nginx")))
    for name in sorted(names):
        meta = {"name": name, "annotations": {"ingressclass.kubernetes.io/is-default-class": "true"}}
        yield {"kind": "IngressClass", "metadata": meta, "spec": {"controller": CONTROLLER}}


def _key(raw: Mapping[str, Any]) -> ObjectKey:
    return ObjectKey(raw["metadata"].get("namespace", "default"), raw["metadata"].get("name", ""))


def _objects(text: str) -> Iterator[Located]:
    for node in yaml.compose_all(text, Loader=yaml.SafeLoader):
        yield from _of_node(node, _construct(node))


def _of_node(node: Any, raw: Any) -> Iterator[Located]:
    if not isinstance(raw, dict) or not isinstance(node, yaml.MappingNode):
        return
    if str(raw.get("kind", "")).endswith("List") and isinstance(raw.get("items"), list):
        items = _child(node, "items")
        for child, item in zip(items.value if items else (), raw["items"], strict=False):
            yield from _of_node(child, item)
    elif isinstance(raw.get("metadata"), dict):
        raw["metadata"].setdefault("namespace", "default")
        yield Located(node.start_mark.line + 1, raw, _annotation_lines(node))


def _annotation_lines(node: yaml.MappingNode) -> dict[str, int]:
    metadata = _child(node, "metadata")
    found = _child(metadata, "annotations") if isinstance(metadata, yaml.MappingNode) else None
    if not isinstance(found, yaml.MappingNode):
        return {}
    return {key.value: key.start_mark.line + 1 for key, _ in found.value}


def _child(node: yaml.MappingNode, name: str) -> Any:
    return next((value for key, value in node.value if key.value == name), None)


def _construct(node: Any) -> Any:
    """The plain objects of a node; dates stay text, as in JSON."""
    if node is None:
        return None
    loader = yaml.SafeLoader("")
    try:
        return json.loads(json.dumps(loader.construct_document(node), default=lambda value: value.isoformat()))
    finally:
        loader.dispose()
