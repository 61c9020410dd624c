"""Repositories as folders of links into the content store.

`links/registry/<repository>/_blobs/<hex>` empty: this blob may be read here; its time is when it was pushed.
`…/_app` empty: it is or was an App's. `…/_manifests/<hex>` a Record.
`…/_referrers/<hex of the subject>/<hex>` empty. `…/_tags/<tag>` a digest.
The image store never collects a blob that has a link under `links/`.
"""

import os
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fairway.registry.documents import Record
from fairway.toolkit import files
from fairway.toolkit.content_store import ContentStore

FOLDER = "links/registry"
_MARK = "_app"


class Repositories:
    """All of them. Methods block on the disk; callers that add hold the store's lock shared."""

    def __init__(self, blobs: ContentStore) -> None:
        self._blobs = blobs
        self._root = blobs.root / FOLDER
        self._root.mkdir(parents=True, exist_ok=True)

    def names(self) -> Iterator[str]:
        """Every repository that ever got something."""
        for folder, inner, _ in os.walk(self._root):
            if "_blobs" in inner or "_manifests" in inner:
                yield str(Path(folder).relative_to(self._root))
            inner[:] = [name for name in inner if not name.startswith("_")]

    def mark(self, name: str) -> None:
        """Remember that a repository, if there is one, belongs to an App, also when that App is gone."""
        if self.exists(name):
            (self._root / name / _MARK).touch()

    def marked(self) -> Iterator[str]:
        """The repositories that belong or belonged to an App."""
        return (name for name in self.names() if (self._root / name / _MARK).exists())

    def exists(self, name: str) -> bool:
        return (self._root / name / "_manifests").is_dir()

    def has_blob(self, name: str, digest: str) -> bool:
        return self._blob(name, digest).exists() and self._blobs.has(digest)

    def link_blob(self, name: str, digest: str) -> None:
        """Let a stored blob be read in a repository; linking again makes it young again."""
        link = self._blob(name, digest)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.touch()

    def unlink_blob(self, name: str, digest: str) -> None:
        self._blob(name, digest).unlink(missing_ok=True)

    def blobs(self, name: str) -> dict[str, float]:
        """Digests and when each was linked, in seconds since 1970."""
        return _times(self._root / name / "_blobs")

    def record(self, name: str, digest: str) -> Record | None:
        """What is known of a manifest, if it is in this repository."""
        try:
            data = self._manifest(name, digest).read_bytes()
        except FileNotFoundError:
            return None
        return msgspec.json.decode(data, type=Record) if self._blobs.has(digest) else None

    def add_manifest(self, name: str, record: Record) -> None:
        """Durable when this returns, with everything that was written before."""
        path = self._manifest(name, record.digest)
        path.parent.mkdir(parents=True, exist_ok=True)
        if record.subject:
            referrer = self._referrers(name, record.subject) / path.name
            referrer.parent.mkdir(parents=True, exist_ok=True)
            referrer.touch()
        self._blobs.sync()
        files.replace(path, msgspec.json.encode(record), durable=True)

    def remove_manifest(self, name: str, record: Record) -> tuple[str, ...]:
        """Remove a manifest and the tags that point to it; returns these."""
        gone = tuple(tag for tag, digest in self.tags(name).items() if digest == record.digest)
        for tag in gone:
            self.remove_tag(name, tag)
        path = self._manifest(name, record.digest)
        if record.subject:
            (self._referrers(name, record.subject) / path.name).unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return gone

    def manifests(self, name: str) -> dict[str, float]:
        """Digests and when each was pushed."""
        return _times(self._root / name / "_manifests")

    def referrers(self, name: str, subject: str) -> tuple[Record, ...]:
        """The manifests whose subject it is, by digest."""
        found = (self.record(name, digest) for digest in sorted(_times(self._referrers(name, subject))))
        return tuple(record for record in found if record is not None)

    def tag(self, name: str, tag: str) -> str | None:
        """The digest that a tag points to."""
        try:
            return (self._root / name / "_tags" / tag).read_text()
        except (FileNotFoundError, IsADirectoryError):
            return None

    def set_tag(self, name: str, tag: str, digest: str) -> None:
        folder = self._root / name / "_tags"
        folder.mkdir(exist_ok=True)
        files.replace(folder / tag, digest.encode(), durable=True)

    def remove_tag(self, name: str, tag: str) -> None:
        (self._root / name / "_tags" / tag).unlink(missing_ok=True)

    def tags(self, name: str) -> dict[str, str]:
        """Tags, sorted, and their digests."""
        try:
            entries = sorted(entry for entry in os.listdir(self._root / name / "_tags") if not entry.startswith("."))
        except FileNotFoundError:
            return {}
        found = ((entry, self.tag(name, entry)) for entry in entries)
        return {tag: digest for tag, digest in found if digest}

    def _blob(self, name: str, digest: str) -> Path:
        return self._root / name / "_blobs" / digest.removeprefix("sha256:")

    def _manifest(self, name: str, digest: str) -> Path:
        return self._root / name / "_manifests" / digest.removeprefix("sha256:")

    def _referrers(self, name: str, subject: str) -> Path:
        return self._root / name / "_referrers" / urllib.parse.quote(subject.removeprefix("sha256:"), safe="")


def _times(folder: Path) -> dict[str, float]:
    found = {}
    try:
        for entry in os.scandir(folder):
            if not entry.name.startswith("."):
                found[f"sha256:{entry.name}"] = entry.stat().st_mtime
    except FileNotFoundError:
        pass
    return found
