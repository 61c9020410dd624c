"""Which links of a repository are garbage."""

from collections.abc import Mapping

import msgspec

from fairway.registry.documents import Record


class Contents(msgspec.Struct, frozen=True):
    """A repository: manifests with their records, and blobs, each with the age of its link; tags."""

    manifests: Mapping[str, tuple[Record, float]]
    blobs: Mapping[str, float]
    tags: Mapping[str, str]


class Garbage(msgspec.Struct, frozen=True):
    """What may go."""

    manifests: tuple[Record, ...] = ()
    blobs: tuple[str, ...] = ()


def plan(
    contents: Contents, retained: frozenset[str], *, untagged_seconds: float | None, garbage_seconds: float
) -> Garbage:
    """Kept are: what a tag or `retained` names, what is young, what these need, and what is about something kept.

    Without `untagged_seconds` every manifest is kept, and only blobs that no manifest ever named can go.
    """
    roots = set(contents.tags.values()) | retained
    young = {
        digest
        for digest, (_, age_seconds) in contents.manifests.items()
        if untagged_seconds is None or age_seconds < untagged_seconds
    }
    kept = _closure(roots | young, contents.manifests)
    needed = {blob for digest in kept for blob in contents.manifests[digest][0].blobs} | retained
    return Garbage(
        tuple(record for digest, (record, _) in sorted(contents.manifests.items()) if digest not in kept),
        tuple(
            digest
            for digest, age_seconds in sorted(contents.blobs.items())
            if digest not in needed and age_seconds >= garbage_seconds
        ),
    )


def _closure(roots: set[str], manifests: Mapping[str, tuple[Record, float]]) -> set[str]:
    """The roots, the children of indexes, and the manifests whose subject is kept, to any depth."""
    about: dict[str, list[str]] = {}
    for digest, (record, _) in manifests.items():
        if record.subject:
            about.setdefault(record.subject, []).append(digest)
    kept: set[str] = set()
    waiting = [digest for digest in roots if digest in manifests]
    while waiting:
        digest = waiting.pop()
        if digest in kept:
            continue
        kept.add(digest)
        following = (*manifests[digest][0].manifests, *about.get(digest, ()))
        waiting += [other for other in following if other in manifests]
    return kept
