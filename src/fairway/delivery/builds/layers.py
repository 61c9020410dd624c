"""What goes onto a base: the layer of a site, the layer of a program."""

import posixpath
import stat
from collections.abc import Iterator, Mapping
from pathlib import Path

from fairway.delivery.builds.dockerfiles import here
from fairway.delivery.builds.site import COMMAND, site_entries
from fairway.toolkit.oci.context import Context, ContextError, Source
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.store import Image, ImageStore

PROGRAM_FOLDER = "app"
PROGRAM_USER = 1000
"""Whom programs run as, and whose their folder is: they may write beside themselves, and are not root."""
_LEFT_OUT = frozenset({".git"})
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""As containers have it whose image says nothing."""


def site(store: ImageStore, base: Reference, folder: Path, port: int, reference: Reference) -> Image:
    """Static files on a web server. Raises ContextError, ImageIncomplete, OSError."""
    with Context(folder) as context:
        if not context.has_file("index.html"):
            raise ContextError(f"there is no index.html in the folder {folder.name!r}: a site starts with one")
        draft = Draft(store, here(store, base))
        draft.add(site_entries(context, port), "static files")
        draft.note("settings", entrypoint=None, cmd=COMMAND, exposed_ports={f"{port}/tcp": {}})
        return named(store, draft.commit(reference), reference)


def program(
    store: ImageStore,
    base: Reference,
    folder: Path,
    inner: str,
    command: tuple[str, ...],
    variables: Mapping[str, str],
    port: int,
    reference: Reference,
) -> Image:
    """A program's folder below /app, and how it starts; `$PATH` in the variable PATH is that of the base.

    Raises ContextError, ImageIncomplete, OSError.
    """
    with Context(folder) as context:
        draft = Draft(store, here(store, base))
        draft.add(_program_entries(context, inner), "program")
        known = dict(pair.partition("=")[::2] for pair in draft.run.env or ())
        variables = {**known, "HOME": f"/{PROGRAM_FOLDER}", **variables}
        if "PATH" in variables:
            variables["PATH"] = variables["PATH"].replace("$PATH", known.get("PATH", _PATH))
        draft.note(
            "settings",
            working_dir=f"/{PROGRAM_FOLDER}",
            entrypoint=None,
            cmd=command,
            user=f"{PROGRAM_USER}:{PROGRAM_USER}",
            env=tuple(f"{name}={value}" for name, value in variables.items()),
            exposed_ports={f"{port}/tcp": {}},
        )
        return named(store, draft.commit(reference), reference)


def _program_entries(context: Context, inner: str) -> Iterator[Entry]:
    """Everything below a folder, hidden files too."""
    yield Entry(PROGRAM_FOLDER, uid=PROGRAM_USER, gid=PROGRAM_USER)
    for source in context.walk(Source(inner, stat.S_IFDIR | 0o755)):
        if _LEFT_OUT & set(source.path.split("/")):
            continue
        path = posixpath.join(PROGRAM_FOLDER, source.path)
        if source.is_folder:
            yield Entry(path, uid=PROGRAM_USER, gid=PROGRAM_USER)
        elif source.link is not None:
            yield Entry(path, target=source.link)
        else:
            yield Entry(
                path, mode=source.portable_mode, source=context.opener(source), uid=PROGRAM_USER, gid=PROGRAM_USER
            )


def named(store: ImageStore, image: Image, reference: Reference) -> Image:
    """Named by its digest too, so that it stays known when the tag moves on."""
    exact = Reference(reference.registry, reference.repository, None, image.digest)
    store.record(exact, image.digest, image.manifest_digest, "local")
    return image
