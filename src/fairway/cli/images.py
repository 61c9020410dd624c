"""`fairway image …`: build, import, list and remove the images of this machine, whether the cluster runs or not."""

import argparse
import asyncio
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from fairway.cli import terminal
from fairway.toolkit.content_store import StoreError
from fairway.toolkit.oci import dockerfile, stages
from fairway.toolkit.oci.archive import import_archive
from fairway.toolkit.oci.authentication import BadCredentials, logins_for, parse_docker_config
from fairway.toolkit.oci.bases import RECIPES, SITE_FOLDER, Recipe
from fairway.toolkit.oci.build import build, static_site
from fairway.toolkit.oci.context import Context, ContextError
from fairway.toolkit.oci.debian import AssemblyError, assemble
from fairway.toolkit.oci.distribution import RegistryClient, Settings
from fairway.toolkit.oci.dockerfile import DockerfileError
from fairway.toolkit.oci.documents import BadDocument
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.pull import BadImage, pull
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse
from fairway.toolkit.oci.registry_errors import RegistryError
from fairway.toolkit.oci.store import Image, ImageIncomplete, ImageStore
from fairway.toolkit.oci.streams import BadArchive

_DOCKERFILE_BYTES_MAX = 1 << 20
_SITE_BASE = "nginx:latest"
_PROBLEMS = (
    *(AssemblyError, BadArchive, BadCredentials, BadDocument, BadImage, ContextError, DockerfileError),
    *(ImageIncomplete, InvalidReference, OSError, RegistryError, StoreError),
)


class UsageError(Exception):
    """Arguments that do not fit together; the message says what to give."""


def add_parser(
    subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]",
    default_state_dir: Path = Path("/var/lib/fairway"),
) -> None:
    """Add `image` and its verbs to the command line."""
    image = subparsers.add_parser("image", help="build, import and list images", description="Images on this machine.")
    verbs = image.add_subparsers(metavar="VERB", required=True)
    _add_build(verbs.add_parser("build", help="build an image from a folder, or assemble a base image"))
    importing = verbs.add_parser("import", help="import an archive made by `docker save`, or an OCI layout")
    importing.add_argument("file", type=Path, metavar="FILE.tar")
    importing.add_argument("-t", "--tag", metavar="NAME", help="the image's name, if the archive has none")
    verbs.add_parser("ls", help="list images")
    removing = verbs.add_parser("rm", help="remove images")
    removing.add_argument("names", nargs="+", metavar="NAME")
    for verb, action in (("build", _build), ("import", _import), ("ls", _list), ("rm", _remove)):
        parser = verbs.choices[verb]
        parser.set_defaults(run=run, action=action)
        parser.add_argument(
            "--state-dir", type=Path, default=default_state_dir, metavar="DIR", help="where the cluster keeps its state"
        )


def _add_build(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", nargs="?", type=Path, metavar="DIR", help="with a Dockerfile, or static files")
    parser.add_argument("-t", "--tag", action="append", default=[], metavar="NAME", help="the image's name; may repeat")
    parser.add_argument("-f", "--file", default="Dockerfile", metavar="FILE", help="the Dockerfile inside DIR")
    parser.add_argument("--target", default="", metavar="STAGE", help="the stage to build instead of the last")
    parser.add_argument("--build-arg", action="append", default=[], metavar="NAME=VALUE", help="value of an ARG")
    parser.add_argument("--base", choices=sorted(RECIPES), help="assemble this base image from Debian packages")
    parser.add_argument("--again", action="store_true", help="assemble the base image even if it is up to date")


def run(arguments: argparse.Namespace) -> int:
    """Run one verb; returns the exit code."""
    try:
        store = ImageStore(arguments.state_dir / "images")
        code: int = arguments.action(store, arguments)
    except (UsageError, *_PROBLEMS) as error:
        terminal.fail(_text(error))
        return 1
    return code


def _build(store: ImageStore, arguments: argparse.Namespace) -> int:
    names = tuple(parse(tag) for tag in arguments.tag)
    with store.blobs.lock(exclusive=False):
        if arguments.base:
            recipe = RECIPES[arguments.base]
            image = _assemble(store, recipe, names, again=arguments.again)
            names = names or _tags(recipe)
        elif arguments.folder is None:
            raise UsageError("give a folder (fairway image build -t NAME DIR) or --base " + "|".join(sorted(RECIPES)))
        elif not names:
            raise UsageError("give the image a name: fairway image build -t NAME DIR")
        else:
            image = _build_folder(store, names[0], arguments)
            for name in names[1:]:
                store.record(name, image.digest, image.manifest_digest, "local")
    terminal.ok(f"{', '.join(map(_familiar, names))}  {_short(image.id)}  {_size(image.size_bytes)}")
    return 0


def _build_folder(store: ImageStore, name: Reference, arguments: argparse.Namespace) -> Image:
    with Context(arguments.folder) as context:
        text = context.read(arguments.file, _DOCKERFILE_BYTES_MAX)
        if text is None:
            return _build_site(store, name, context, arguments.folder)
        given = _build_arguments(arguments.build_arg)
        recipe = stages.read(dockerfile.parse(text.decode("utf-8", "replace")), given, arguments.target)

        def base(wanted: Reference) -> Image:
            return _base(store, wanted, arguments.state_dir)

        return build(store, name, context, recipe, base, _tell)


def _build_site(store: ImageStore, name: Reference, context: Context, folder: Path) -> Image:
    """Static files on the nginx base."""
    if not context.has_file("index.html"):
        raise UsageError(f"{folder} has neither a Dockerfile nor an index.html; one of the two is needed")
    terminal.step("no Dockerfile: static files on nginx")
    draft = Draft(store, _base(store, parse(_SITE_BASE), None))
    draft.add(static_site(context, SITE_FOLDER), "static files")
    return draft.commit(name)


def _base(store: ImageStore, wanted: Reference, state_dir: Path | None) -> Image:
    """The image of FROM: what is here, else one of our own base images, else from its registry."""
    record = store.find(wanted)
    if record is not None:
        try:
            return store.load(record)
        except ImageIncomplete as error:
            terminal.warn(f"{error}; fetching it again")
    for recipe in RECIPES.values():
        if wanted in _tags(recipe):
            return _assemble(store, recipe, (), again=False)
    asyncio.run(_pull(store, wanted, state_dir))
    record = store.find(wanted)
    if record is None:
        raise ImageIncomplete(f"{wanted} was removed while it was pulled")
    return store.load(record)


async def _pull(store: ImageStore, wanted: Reference, state_dir: Path | None) -> None:
    terminal.step(f"pulling {wanted}")
    login = next(logins_for(wanted, parse_docker_config(_docker_config())), None)
    settings = Settings(authorities=state_dir / "registries" if state_dir else None)
    async with RegistryClient(wanted.registry, login=login, settings=settings) as client:
        try:
            await pull(store, client, wanted, _tell)
        except RegistryError as error:
            raise type(error)(f"{wanted}: {error}") from error


def _docker_config() -> bytes:
    try:
        return (Path.home() / ".docker" / "config.json").read_bytes()
    except FileNotFoundError:
        return b'{"auths": {}}'


def _assemble(store: ImageStore, recipe: Recipe, names: tuple[Reference, ...], *, again: bool) -> Image:
    terminal.step(f"base image {recipe.name}: {recipe.about}")
    return assemble(store, recipe, names or _tags(recipe), _tell, again=again)


def _tags(recipe: Recipe) -> tuple[Reference, ...]:
    return tuple(parse(tag) for tag in recipe.tags)


def _build_arguments(pairs: list[str]) -> Mapping[str, str]:
    for pair in pairs:
        if "=" not in pair:
            raise UsageError(f"--build-arg {pair}: write NAME=VALUE")
    return dict(pair.split("=", 1) for pair in pairs)


def _import(store: ImageStore, arguments: argparse.Namespace) -> int:
    name = parse(arguments.tag) if arguments.tag else None
    with store.blobs.lock(exclusive=False):
        images = import_archive(store, arguments.file, name, _tell)
    for image in images:
        terminal.ok(f"{_familiar(parse(image.reference))}  {_short(image.id)}  {_size(image.size_bytes)}")
    return 0


def _list(store: ImageStore, arguments: argparse.Namespace) -> int:
    rows = [_row(image) for image in store.list()]
    print(terminal.table(("NAME", "TAG", "ID", "SIZE", "CREATED", "ORIGIN"), rows))
    return 0


def _row(image: Image) -> tuple[str, ...]:
    reference = parse(image.reference)
    tag = reference.tag or f"@{_short(reference.digest or '')}"
    return reference.familiar_name, tag, _short(image.id), _size(image.size_bytes), _ago(image.created), image.origin


def _remove(store: ImageStore, arguments: argparse.Namespace) -> int:
    missing = [name for name in arguments.names if not store.remove(parse(name))]
    freed_bytes = store.collect()
    for name in missing:
        terminal.fail(f"no image named {name}")
    terminal.ok(f"removed {len(arguments.names) - len(missing)}, freed {_size(freed_bytes)}")
    return 1 if missing else 0


def _tell(line: str) -> None:
    print(f"  {terminal.paint(line, 'dim')}", flush=True)


def _familiar(reference: Reference) -> str:
    return f"{reference.familiar_name}:{reference.tag}" if reference.tag else str(reference)


def _short(digest: str) -> str:
    return digest.removeprefix("sha256:")[:12]


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f}MB" if size_bytes >= 100_000 else f"{size_bytes / 1e3:.1f}kB"


def _ago(stamp: str) -> str:
    """How long ago, in the largest unit that fits."""
    try:
        seconds = (datetime.now(UTC) - datetime.fromisoformat(stamp)).total_seconds()
    except (ValueError, TypeError):
        return "-"
    for name, length in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= length:
            count = int(seconds // length)
            return f"{count} {name}{'s' * (count != 1)} ago"
    return "just now"


def _text(error: Exception) -> str:
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    return str(error)
