"""`fairway edge lint` and `fairway edge explain`: from files, or from a cluster, to lines on the terminal."""

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import yaml

from fairway.cli import edge as view
from fairway.cli import terminal
from fairway.edge.explain import explain as explain_url
from fairway.edge.lint import Finding, assumed, lint_snapshot
from fairway.edge.lint import lint as lint_text
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.translate import translate
from fairway.edge.translate.table import PREFIX
from fairway.kube.api.resource import CONFIG_MAPS, ENDPOINT_SLICES, INGRESS_CLASSES, INGRESSES, SECRETS, SERVICES
from fairway.kube.client import kubeconfig
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.processes import instance

_RESOURCES = (INGRESSES, INGRESS_CLASSES, SERVICES, ENDPOINT_SLICES, SECRETS, CONFIG_MAPS)
_PROBLEMS = (ApiError, OSError, Unreachable, ValueError, kubeconfig.KubeconfigError, yaml.YAMLError)


def lint(arguments: argparse.Namespace) -> int:
    """Print every finding; 1 when something is refused or cannot be read."""
    try:
        findings = _findings(arguments)
    except (msgspec.MsgspecError, *_PROBLEMS) as error:
        terminal.fail(str(error))
        return 1
    rows = [
        (
            f"{name}:{one.line}" if one.line else str(one.ingress),
            one.level,
            one.subject.removeprefix(PREFIX),
            one.message,
        )
        for name, one in findings
    ]
    print(view.findings(rows), end="")
    print(view.summary([finding.level for _, finding in findings]))
    return 1 if any(finding.level == "refused" for _, finding in findings) else 0


def _findings(arguments: argparse.Namespace) -> Sequence[tuple[str, Finding]]:
    if arguments.kubeconfig:
        return [("", finding) for finding in lint_snapshot(_of_cluster(arguments.kubeconfig, arguments.context))]
    if not arguments.files:
        raise ValueError("name manifests, or a cluster with --kubeconfig")
    return [(str(path), finding) for path in arguments.files for finding in lint_text(_read(path))]


def explain(arguments: argparse.Namespace) -> int:
    """Print what happens to a URL; 1 when that cannot be found out."""
    try:
        snapshot = _snapshot(arguments)
        found = explain_url(arguments.url, snapshot, translate(snapshot))
    except (msgspec.MsgspecError, *_PROBLEMS) as error:
        terminal.fail(str(error))
        return 1
    print(view.facts(found.facts))
    for name, text, level in found.annotations:
        print(view.finding("annotation", level, name, text))
    for problem in found.problems:
        terminal.warn(problem)
    return 0


def _snapshot(arguments: argparse.Namespace) -> Snapshot:
    if arguments.file:
        return assumed(raw for path in arguments.file for raw in _manifests(_read(path)))
    if arguments.kubeconfig:
        return _of_cluster(arguments.kubeconfig, arguments.context)
    running = instance.read(arguments.state_dir)
    if running is None:
        raise ValueError(f"nothing runs with {arguments.state_dir}; name a cluster with --kubeconfig, or files with -f")
    return _of_cluster(running.settings.kubeconfig, "")


def _of_cluster(path: Path, context: str) -> Snapshot:
    return asyncio.run(_fetch(kubeconfig.connect(kubeconfig.load(path, context))))


async def _fetch(client: ApiClient) -> Snapshot:
    lists = [(resource, await client.list(resource)) for resource in _RESOURCES]
    return of_manifests({**item, "kind": resource.kind} for resource, found in lists for item in found.items)


def _manifests(text: str) -> list[dict[str, object]]:
    return [raw for raw in yaml.safe_load_all(text) if isinstance(raw, dict)]


def _read(path: Path) -> str:
    return sys.stdin.read() if str(path) == "-" else path.read_text()
