"""`fairway export`: what an App runs on, as files that need no Fairway."""

import argparse
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from fairway.cli import terminal
from fairway.cli.delivery.apps import checked, counted, read
from fairway.cli.delivery.cluster import Cluster, Mistake
from fairway.delivery.export import Exported, exported, helm, kustomize, plain
from fairway.kube.api.meta import ObjectKey

_HINTS = {
    "manifests": "kubectl apply -f {folder}",
    "kustomize": "kubectl apply -k {folder}/overlays/{environment}",
    "helm": "helm template {folder}",
}


async def export(cluster: Cluster, arguments: argparse.Namespace) -> int:
    """Write files, or print manifests where no folder is named."""
    app = await read(cluster, arguments.name)
    environment = checked(app, arguments.environment)
    every = await exported(
        cluster.client, ObjectKey(cluster.namespace, arguments.name), with_secrets=arguments.with_secrets
    )
    one = next((one for one in every if one.environment == environment), None)
    if one is None:
        raise Mistake(f"nothing was released in {environment} yet, so there is nothing to export")
    if arguments.output is None:
        if arguments.format != "manifests":
            raise Mistake(f"a {arguments.format} export is several files: name a folder with -o DIR")
        print(plain(one), end="")
        return 0
    files = _files(arguments.format, one, every)
    _write(arguments.output, files)
    hint = _HINTS[arguments.format].format(folder=arguments.output, environment=environment)
    terminal.ok(f"{counted(len(files), 'file')} in {arguments.output}; try: {hint}")
    return 0


def _files(format: str, one: Exported, every: tuple[Exported, ...]) -> Mapping[str, str]:
    if format == "kustomize":
        return kustomize(every)
    return helm(one) if format == "helm" else {f"{one.app}.yaml": plain(one)}


def _write(folder: Path, files: Mapping[str, str]) -> None:
    """Into a folder that is empty or not there: nothing of anybody's is overwritten."""
    if folder.exists() and any(folder.iterdir()):
        raise Mistake(f"{folder} is not empty; choose another folder")
    for name, text in files.items():
        path = folder / PurePosixPath(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
