"""Assemble base images from Debian packages with mmdebstrap; its maintainer scripts do not run."""

import os
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, cast

import msgspec

from fairway.toolkit.content_store import sha256
from fairway.toolkit.oci.bases import Recipe, additions, skeleton
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry, write_layer
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.store import Image, ImageStore

Tell = Callable[[str], None]
KEY_LABEL = "fairway.base.key"
_MERGED = ("bin", "sbin", "lib", "lib32", "lib64", "libx32")
_LEFT_OUT = (
    *("boot", "dev", "proc", "sys", "tmp", "run", "media", "mnt", "srv", "etc/apt", "etc/dpkg", "etc/fstab"),
    *("etc/init.d", "etc/hostname", "etc/resolv.conf", "etc/logrotate.d", "etc/ufw", "etc/nginx/sites-available"),
    *("etc/nginx/sites-enabled", "usr/lib/systemd", "usr/share/man", "usr/share/info", "usr/share/locale"),
    *("usr/share/lintian", "usr/share/bug", "usr/share/bash-completion", "usr/share/debconf", "usr/share/perl5"),
    *("usr/share/doc-base", "usr/share/common-licenses", "var/cache", "var/lib/apt", "var/lib/dpkg", "var/log"),
    *("var/lock", "var/run", "var/tmp", "root"),
)
_COMPILE = (
    'for folder in "$1"/usr/lib/python3.*; do chroot "$1" /usr/bin/python3 -m compileall -q '
    '--invalidation-mode unchecked-hash "${folder#"$1"}" || true; done'
)


class AssemblyError(Exception):
    """The base image cannot be assembled; the message says what to do."""


def assemble(
    store: ImageStore, recipe: Recipe, names: Iterable[Reference], tell: Tell, *, again: bool = False
) -> Image:
    """Assemble a base image and name it; takes the present one if its packages have not changed, unless `again`.

    Raises AssemblyError, OSError.
    """
    suite = debian_suite()
    key = recipe_key(recipe, suite)
    wanted = tuple(names)
    made = None if again else _present(store, key)
    if made is not None:
        tell(f"{recipe.name}: up to date")
        for reference in wanted:
            store.record(reference, made.digest, made.manifest_digest, "local")
    else:
        draft = _assemble(store, recipe, suite, key, tell)
        for reference in wanted:
            made = draft.commit(reference)
    if made is None:
        raise AssemblyError("no name was given for the image")
    return made


def debian_suite() -> str:
    """The Debian release to take packages from: this machine's, or bookworm where the machine is no Debian."""
    facts = _os_release()
    return facts.get("VERSION_CODENAME", "bookworm") if facts.get("ID") == "debian" else "bookworm"


def recipe_key(recipe: Recipe, suite: str) -> str:
    """Changes when the recipe or a version of its packages known to this machine changes."""
    versions = package_versions(recipe.packages)
    return sha256(msgspec.json.encode((recipe, suite, versions), order="sorted"))[7:23]


def package_versions(packages: Iterable[str]) -> tuple[str, ...]:
    """The versions that apt on this machine would install; empty where there is no apt."""
    if shutil.which("apt-cache") is None:
        return ()
    done = subprocess.run(["apt-cache", "policy", *packages], capture_output=True, text=True, env=_environment())
    return tuple(line.split()[-1] for line in done.stdout.splitlines() if line.strip().startswith("Candidate:"))


def _present(store: ImageStore, key: str) -> Image | None:
    return next((image for image in store.list() if image.config.labels.get(KEY_LABEL) == key), None)


def _assemble(store: ImageStore, recipe: Recipe, suite: str, key: str, tell: Tell) -> Draft:
    with tempfile.TemporaryDirectory(prefix="fairway-base-") as scratch:
        archive = Path(scratch) / "packages.tar"
        _run_mmdebstrap(recipe, suite, archive, tell)
        tell("writing the image")
        with tarfile.open(archive, "r:") as tar:
            layer = write_layer(store.blobs, _entries(tar, recipe))
    draft = Draft(store, None)
    draft.add_layer(layer, f"base {recipe.name} from Debian {suite}: {' '.join(recipe.packages)}")
    labels = {KEY_LABEL: key, "org.opencontainers.image.title": recipe.name}
    draft.run = msgspec.structs.replace(recipe.run, labels={**(recipe.run.labels or {}), **labels})
    return draft


def _run_mmdebstrap(recipe: Recipe, suite: str, archive: Path, tell: Tell) -> None:
    if shutil.which("mmdebstrap") is None:
        raise AssemblyError("mmdebstrap, which assembles base images, is not installed: apt-get install -y mmdebstrap")
    command = ["mmdebstrap", "--variant=extract", "--format=tar", f"--include={','.join(recipe.packages)}"]
    hooks = [f"--extract-hook={_COMPILE}"] if recipe.compile_python else []
    rest = [suite, str(archive), *_sources(suite)]
    tell(f"fetching {', '.join(recipe.packages)} from Debian {suite}")
    last = _run([*command, *hooks, *rest], tell)
    if any("unable to pick chroot mode" in line for line in last):
        # An ordinary user without subordinate ids can run nothing in there: then Python compiles when it imports.
        last = _run([*command, "--mode=chrootless", *rest], tell)
    if last:
        raise AssemblyError("mmdebstrap failed; its last words:\n  " + "\n  ".join(last))


def _run(command: list[str], tell: Tell) -> list[str]:
    """Nothing, or the last words of what failed."""
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command, stdin=quiet, stdout=quiet, stderr=subprocess.PIPE, text=True, env=_environment()
    )
    last: list[str] = []
    with process:
        for line in process.stderr or ():
            last = [*last[-14:], line.rstrip()]
            if line.startswith(("I: running apt-get update", "I: downloading", "I: extracting", "I: creating")):
                tell(line[3:].rstrip().rstrip("."))
    return (last or [f"it ended with {process.returncode}"]) if process.returncode != 0 else []


def _sources(suite: str) -> tuple[str, ...]:
    """This machine's own package sources where they fit, so that its mirrors and security updates are used."""
    if _os_release().get("VERSION_CODENAME") != suite:
        return ()
    candidates = (Path("/etc/apt/sources.list.d/debian.sources"), Path("/etc/apt/sources.list"))
    return tuple(str(path) for path in candidates if path.is_file() and suite in path.read_text(errors="replace"))


def _entries(tar: tarfile.TarFile, recipe: Recipe) -> Iterator[Entry]:
    """Everything in the image; what comes later replaces what comes earlier."""
    packaged = {entry.path: entry for entry in _packaged(tar, recipe)}
    yield from packaged.values()
    yield from skeleton()
    yield from _tools(packaged)
    yield from _certificates(tar)
    yield from additions(recipe)


def _packaged(tar: tarfile.TarFile, recipe: Recipe) -> Iterator[Entry]:
    for member in tar:
        path = _merged(member.name.removeprefix("./").strip("/"))
        if not path or path in _MERGED or not _wanted(path, recipe, member.isdir()):
            continue
        if member.isdir():
            yield Entry(path, mode=member.mode & 0o1777, uid=member.uid, gid=member.gid)
        elif member.issym():
            yield Entry(path, target=member.linkname)
        elif member.isreg() or member.islnk():
            yield Entry(path, mode=member.mode & 0o777, source=_opener(tar, member), uid=member.uid, gid=member.gid)


def _merged(path: str) -> str:
    """/bin/x as /usr/bin/x, which is where all current systems have it."""
    return f"usr/{path}" if path.partition("/")[0] in _MERGED and "/" in path else path


def _wanted(path: str, recipe: Recipe, is_folder: bool) -> bool:
    if any(path == out or path.startswith(f"{out}/") for out in _LEFT_OUT):
        return False
    if path.startswith("usr/share/doc/"):
        return not is_folder and path.endswith("/copyright")
    keep = tuple(_merged(f"{folder}/").rstrip("/") for folder in recipe.keep)
    return not keep or any(path == folder or path.startswith(f"{folder}/") for folder in keep)


def _opener(tar: tarfile.TarFile, member: tarfile.TarInfo) -> Callable[[], BinaryIO]:
    return lambda: cast(BinaryIO, tar.extractfile(member))


def _tools(packaged: Mapping[str, Entry]) -> Iterator[Entry]:
    """Links to busybox for the tools that no package brought."""
    busybox = packaged.get("usr/bin/busybox")
    if busybox is None or busybox.source is None:
        return
    with tempfile.NamedTemporaryFile(delete=False) as file, busybox.source() as data:
        shutil.copyfileobj(data, file)
    try:
        Path(file.name).chmod(0o700)
        command = ["busybox", "--list"]
        applets = subprocess.run(
            command, executable=file.name, capture_output=True, text=True, check=True
        ).stdout.split()
    finally:
        Path(file.name).unlink()
    for applet in applets:
        taken = any(f"usr/{folder}/{applet}" in packaged for folder in ("bin", "sbin"))
        if not taken and "/" not in applet and applet != "busybox":
            yield Entry(f"usr/bin/{applet}", target="busybox")


def _certificates(tar: tarfile.TarFile) -> Iterator[Entry]:
    """The bundle that the package's own script would have made."""
    members = [
        member for member in tar.getmembers() if member.isreg() and "/share/ca-certificates/mozilla/" in member.name
    ]
    texts = [_opener(tar, member)().read().rstrip() for member in sorted(members, key=lambda one: one.name)]
    if texts:
        yield Entry("etc/ssl/certs/ca-certificates.crt", mode=0o644, data=b"\n".join([*texts, b""]))
        yield Entry("etc/ssl/cert.pem", target="/etc/ssl/certs/ca-certificates.crt")


def _os_release() -> Mapping[str, str]:
    try:
        lines = Path("/etc/os-release").read_text().splitlines()
    except OSError:
        return {}
    return {key: value.strip('"') for key, _, value in (line.partition("=") for line in lines)}


def _environment() -> dict[str, str]:
    return {**os.environ, "LC_ALL": "C", "LANGUAGE": "C"}
