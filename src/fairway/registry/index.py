"""What is pushed as names in the node's index of images, where the kubelet looks first."""

from collections.abc import Collection, Iterator
from datetime import datetime

from fairway.registry.documents import Record
from fairway.toolkit.content_store import StoreError
from fairway.toolkit.oci import documents
from fairway.toolkit.oci.documents import BadDocument
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse
from fairway.toolkit.oci.store import ImageStore


class ImageIndex:
    """The names of this registry's images; each host name of the registry gives one."""

    def __init__(self, store: ImageStore, hosts: tuple[str, ...]) -> None:
        self._store = store
        self._hosts = hosts

    def record(self, repository: str, target: str, record: Record) -> str:
        """Name what can run here; returns the digest of this platform's manifest, or "" when there is none.

        `target` is a tag or a digest. Raises OSError.
        """
        digest = self._runnable(record)
        if digest:
            for reference in self._references(repository, target):
                self._store.record(reference, record.digest, digest, "local")
        return digest

    def remove(self, repository: str, target: str) -> None:
        """Forget a tag or a digest."""
        for reference in self._references(repository, target):
            self._store.remove(reference)

    def older(self, repositories: Collection[str], than: datetime) -> Iterator[Reference]:
        """The node's names for images of these repositories that were given before a time."""
        for known in self._store.names.all():
            reference = parse(known.name)
            if reference.registry in self._hosts and reference.repository in repositories:
                since = known.facts.get("since", "")
                if since and datetime.fromisoformat(since) < than:
                    yield reference

    def _references(self, repository: str, target: str) -> list[Reference]:
        separator = "@" if ":" in target else ":"
        found = []
        for host in self._hosts:
            try:
                found.append(parse(f"{host}/{repository}{separator}{target}"))
            except InvalidReference:
                continue  # a repository may have a name that no image reference can
        return found

    def _runnable(self, record: Record) -> str:
        """An image manifest, or the one that an index has for this machine, with a configuration and its layers."""
        try:
            digest = self._of_index(record) if record.is_index else record.digest
            if digest and self._store.config(self._store.manifest(digest)).rootfs.diff_ids:
                return digest
        except (BadDocument, StoreError):
            pass  # an artifact, or an image of which only other platforms are here
        return ""

    def _of_index(self, record: Record) -> str:
        chosen = documents.choose(documents.decode_index(self._store.blobs.read(record.digest)), documents.here())
        return chosen.digest if chosen else ""
