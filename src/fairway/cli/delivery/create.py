"""`fairway app create`: an App from what was said, and the repository here made ready to be pushed."""

import argparse
from collections.abc import Mapping
from typing import Any

import yaml

from fairway.cli import terminal
from fairway.cli.delivery import bases, deploy, endpoint
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.kinds.resources import APPS
from fairway.kube.client.errors import AlreadyExists, NotFound

Raw = dict[str, Any]


def manifest(arguments: argparse.Namespace, namespace: str) -> Raw:
    """The App that the arguments of `app create` mean; only what was said is in it."""
    build = {"strategy": arguments.strategy, "command": arguments.build_command, "output": arguments.output}
    build |= {"image": arguments.image}
    source = {"repository": arguments.repo, "branch": arguments.branch, "path": arguments.path}
    source |= {"credentialsSecret": arguments.credentials}
    spec: Raw = {
        "source": _said(source),
        "build": _said(build),
        "runtime": _said({"port": arguments.port}),
        "domains": [_host(text) for text in arguments.domain],
        "replicas": arguments.replicas,
    }
    metadata = {"name": arguments.name, "namespace": namespace}
    return {"apiVersion": APPS.api_version, "kind": APPS.kind, "metadata": metadata, "spec": _said(spec)}


def _said(fields: Mapping[str, Any]) -> Raw:
    return {name: value for name, value in fields.items() if value not in ("", None, {}, [], 0)}


def _host(text: str) -> str:
    """A domain as people paste it: with a scheme, a slash, capitals."""
    bare = text.strip().lower().rstrip("/").removeprefix("https://").removeprefix("http://").rstrip(".")
    try:
        return bare.encode("idna").decode() if not bare.isascii() else bare
    except UnicodeError as error:
        raise Mistake(f"--domain {text!r} is no host name: {error}") from error


async def create(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Write an App, and with --remote prepare the repository here to be pushed."""
    raw = manifest(arguments, cluster.namespace)
    if arguments.dry_run:
        print(yaml.safe_dump(raw, sort_keys=False), end="")
        return 0
    await endpoint.find(cluster)  # the kind is known before the endpoint is
    await bases.ensure(cluster)
    try:
        await cluster.client.create(APPS, raw)
    except AlreadyExists:
        raise Mistake(
            f"there is an App {cluster.namespace}/{arguments.name} already; see fairway app show {arguments.name}"
        ) from None
    except NotFound:
        raise Mistake(
            "this cluster does not know Apps: run the delivery room there, or start one with fairway up"
        ) from None
    terminal.ok(f"App {arguments.name} is created")
    if arguments.remote:
        await deploy.remote(cluster, arguments.name)
    return 0
