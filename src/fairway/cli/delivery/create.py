"""`fairway app create`: an App from what was said, and the repository here made ready to be pushed."""

import argparse
from collections.abc import Mapping
from typing import Any

import yaml

from fairway.cli import terminal
from fairway.cli.delivery import deploy, endpoint
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
        "domains": arguments.domain,
        "replicas": arguments.replicas,
    }
    metadata = {"name": arguments.name, "namespace": namespace}
    return {"apiVersion": APPS.api_version, "kind": APPS.kind, "metadata": metadata, "spec": _said(spec)}


def _said(fields: Mapping[str, Any]) -> Raw:
    return {name: value for name, value in fields.items() if value not in ("", None, {}, [], 0)}


def _check(arguments: argparse.Namespace) -> None:
    """What belongs together. Raises Mistake."""
    if arguments.strategy == "image" and not arguments.image:
        raise Mistake("--strategy image runs an image that exists: name it with --image")
    if arguments.build_command and not arguments.image:
        raise Mistake("--build-command needs the image to run in: name it with --image, such as --image node:lts-slim")
    if arguments.remote and arguments.repo:
        raise Mistake("--repo says where the code is, --remote that it is pushed here: give one of the two")
    if arguments.remote and not arguments.dry_run:
        deploy.check_repository()


async def create(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Write an App, and with --remote prepare the repository here to be pushed."""
    _check(arguments)
    raw = manifest(arguments, cluster.namespace)
    if arguments.dry_run:
        print(yaml.safe_dump(raw, sort_keys=False), end="")
        return 0
    await endpoint.find(cluster)  # the kind is known before the endpoint is
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
