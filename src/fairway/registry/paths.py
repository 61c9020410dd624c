"""What a request path of the distribution API asks for."""

import re
import urllib.parse

import msgspec

from fairway.registry.errors import RegistryProblem

_PART = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_NAME = re.compile(rf"{_PART}(?:/{_PART})*\Z")
_TAG = re.compile(r"[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}\Z")
_DIGEST = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+\Z")
_SHA256 = re.compile(r"sha256:[0-9a-f]{64}\Z")
_KINDS = (
    ("uploads", re.compile(r"(.+)/blobs/uploads/?([^/]*)\Z")),
    ("blobs", re.compile(r"(.+)/blobs/([^/]+)\Z")),
    ("manifests", re.compile(r"(.+)/manifests/([^/]+)\Z")),
    ("referrers", re.compile(r"(.+)/referrers/([^/]+)\Z")),
    ("tags", re.compile(r"(.+)/tags/(list)\Z")),
)
_NAME_LENGTH_MAX = 255


class Target(msgspec.Struct, frozen=True):
    """`kind` is base, uploads, blobs, manifests, referrers or tags; `item` a digest, tag or upload, as it was sent."""

    kind: str
    repository: str = ""
    item: str = ""


def parse(path: str) -> Target | None:
    """The target of a path, or None when it is none of the API. Raises RegistryProblem for a bad name."""
    text = urllib.parse.unquote(path, errors="replace")
    if text in ("/v2", "/v2/"):
        return Target("base")
    if not text.startswith("/v2/"):
        return None
    for kind, pattern in _KINDS:
        if found := pattern.match(text[4:]):
            return Target(kind, checked_name(found[1]), found[2])
    return None


def checked_name(name: str) -> str:
    """A repository's name; it is then safe as a path of folders. Raises RegistryProblem."""
    if len(name) > _NAME_LENGTH_MAX or not _NAME.match(name):
        raise RegistryProblem("NAME_INVALID", f"invalid repository name {name[:300]!r}")
    return name


def is_tag(text: str) -> bool:
    return _TAG.match(text) is not None


def checked_digest(text: str) -> str:
    """A sha256 digest. Raises RegistryProblem, also for other algorithms: the content store knows only this one."""
    if _SHA256.match(text):
        return text
    if _DIGEST.match(text) and not text.startswith("sha256:"):
        raise RegistryProblem("DIGEST_INVALID", f"digest algorithm {text.partition(':')[0][:50]} is not supported")
    raise RegistryProblem("DIGEST_INVALID", f"{text[:100]!r} is not a digest of the form sha256:<64 hex digits>")


def streams_body(method: str, path: str) -> bool:
    """Whether a request may carry a blob: its body is read while it arrives."""
    return method in ("POST", "PUT", "PATCH") and "/blobs/uploads" in path
