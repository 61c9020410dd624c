"""The objects of an App with own manifests: plain YAML, a kustomization or a chart of its repository."""

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import msgspec

from fairway.delivery.kinds.apps import App, object_name
from fairway.delivery.releases import kustomizations, programs
from fairway.delivery.releases.manifests import BYTES_MAX, Values, read
from fairway.delivery.releases.objects import Manifests
from fairway.delivery.releases.world import Problem, ReleaseWorld

_CHECKOUT_BYTES_MAX = 200 << 20
_FILES_MAX = 1000
_VERSION_LENGTH = 12
_VALUES_FILE = "values.json"


async def render(world: ReleaseWorld, app: App, values: Values) -> Manifests | Problem:
    """What `spec.deploy` makes of the commit. Raises SourceError when there is no such commit, and OSError."""
    async with _checkout(world, app, values.commit) as root:
        folder = await asyncio.to_thread(_folder, root, app)
        if isinstance(folder, Problem):
            return folder
        texts = await _texts(world, app, values, root, folder)
        return texts if isinstance(texts, Problem) else read(texts, values)


async def _texts(
    world: ReleaseWorld, app: App, values: Values, root: Path, folder: Path
) -> list[tuple[str, str]] | Problem:
    match app.spec.deploy.mode:
        case "manifests":
            return await asyncio.to_thread(_files, root, folder)
        case "kustomize":
            if problem := await asyncio.to_thread(kustomizations.problem_of, root):
                return problem
            made = await programs.kustomize(folder, world.kubectl)
        case _:
            file = root.parent / _VALUES_FILE
            await asyncio.to_thread(_write_values, file, app, values)
            name = object_name(app.metadata.name, values.place.environment)
            made = await programs.helm(folder, world.helm, name, values.place.namespace, file)
    return made if isinstance(made, Problem) else [(app.spec.deploy.path or ".", made)]


@asynccontextmanager
async def _checkout(world: ReleaseWorld, app: App, commit: str) -> AsyncIterator[Path]:
    world.scratch_dir.mkdir(parents=True, exist_ok=True)
    parent = Path(tempfile.mkdtemp(prefix="release-", dir=world.scratch_dir))
    try:
        if os.geteuid() == 0:  # then the renderers run as nobody, and nobody else may look
            os.chown(parent, programs.NOBODY, 0)
            parent.chmod(0o750)
        root = parent / "tree"
        await world.repositories.checkout(app.metadata.key, commit, "", root, bytes_max=_CHECKOUT_BYTES_MAX)
        yield root
    finally:
        await asyncio.to_thread(shutil.rmtree, parent, True)


def _folder(root: Path, app: App) -> Path | Problem:
    path = app.spec.deploy.path
    folder = (root / app.spec.source.path / path).resolve()
    if not folder.is_relative_to(root.resolve()) or not folder.is_dir():
        return Problem(f'spec.deploy.path: there is no folder "{path}" in the repository at this commit')
    return folder


def _files(root: Path, folder: Path) -> list[tuple[str, str]] | Problem:
    found: list[tuple[str, str]] = []
    size = 0
    for path in sorted(folder.rglob("*")):
        if path.suffix not in (".yaml", ".yml", ".json") or path.is_symlink() or not path.is_file():
            continue
        name = str(path.relative_to(root))
        size += path.stat().st_size
        if size > BYTES_MAX or len(found) >= _FILES_MAX:
            return Problem(f"{name}: more than {BYTES_MAX} bytes or {_FILES_MAX} files of manifests")
        found.append((name, path.read_text("utf-8", "replace")))
    return found


def _write_values(file: Path, app: App, values: Values) -> None:
    """What charts get: the App's own values, and over them the image, under the names that charts commonly use.

    As a tag and a digest may stand together, `repository:tag` of any chart is the image that was built, by its digest.
    """
    repository, _, digest = values.image.partition("@")
    tag = f"{values.commit[:_VERSION_LENGTH] or 'release'}@{digest}" if digest else "latest"
    own = dict(app.spec.deploy.values)
    image = {"repository": repository, "tag": tag} if values.image else {}
    known = {
        "image": values.image,
        "domain": values.hosts[0] if values.hosts else "",
        "domains": list(values.hosts),
        "port": values.port,
        "commit": values.commit,
        "environment": values.place.environment,
        "configuration": values.configuration,
    }
    theirs = own.get("image")
    given = {"image": {**(theirs if isinstance(theirs, dict) else {}), **image}, "fairway": known}
    file.write_bytes(msgspec.json.encode({**own, **given}))
    file.chmod(0o644)
