"""Image references, with the defaults that Docker's short names imply."""

import re

import msgspec

DEFAULT_REGISTRY = "docker.io"

_DOMAIN_PART = r"(?:[a-zA-Z0-9]|[a-zA-Z0-9][a-zA-Z0-9-]*[a-zA-Z0-9])"
_DOMAIN = re.compile(rf"(?:{_DOMAIN_PART}(?:\.{_DOMAIN_PART})*|\[[a-fA-F0-9:]+\])(?::[0-9]+)?\Z")
_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*\Z")
_TAG = re.compile(r"\w[\w.-]{0,127}\Z", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_NAME_LENGTH_MAX = 255


class InvalidReference(ValueError):
    """Text that names no image; the message is Docker's own."""


class Reference(msgspec.Struct, frozen=True):
    """A normalised name: `nginx` is docker.io / library/nginx : latest. With a digest the tag is only a remark."""

    registry: str
    repository: str
    tag: str | None = None
    digest: str | None = None

    def __str__(self) -> str:
        suffix = f"@{self.digest}" if self.digest else f":{self.tag}"
        return f"{self.registry}/{self.repository}{suffix}"

    @property
    def name(self) -> str:
        """Registry and repository."""
        return f"{self.registry}/{self.repository}"

    @property
    def familiar_name(self) -> str:
        """As people write it: `nginx`, `team/web`, `harbor.corp.com/web`."""
        if self.registry != DEFAULT_REGISTRY:
            return self.name
        return self.repository.removeprefix("library/")

    @property
    def target(self) -> str:
        """What to ask the registry for: the digest, else the tag."""
        return self.digest or self.tag or "latest"


def parse(text: str) -> Reference:
    """Parse and normalise as Docker does (github.com/distribution/reference). Raises InvalidReference."""
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.match(digest):
        raise InvalidReference("invalid reference format")
    registry, path = _split_registry(rest)
    path, _, tag = path.partition(":") if ":" in path.rpartition("/")[2] else (path, "", "")
    if ":" in rest.rpartition("/")[2] and not _TAG.match(tag):
        raise InvalidReference("invalid reference format")
    if path.lower() != path:
        raise InvalidReference("invalid reference format: repository name must be lowercase")
    if not _DOMAIN.match(registry) or not all(map(_PATH_PART.match, path.split("/"))):
        raise InvalidReference("invalid reference format")
    if registry == DEFAULT_REGISTRY and "/" not in path:
        path = f"library/{path}"
    if len(path) > _NAME_LENGTH_MAX:
        raise InvalidReference("repository name must not be more than 255 characters")
    return Reference(registry, path, tag or (None if digest else "latest"), digest or None)


def _split_registry(text: str) -> tuple[str, str]:
    first, slash, rest = text.partition("/")
    is_registry = slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first)
    registry, path = (first, rest) if is_registry else (DEFAULT_REGISTRY, text)
    return (DEFAULT_REGISTRY if registry == "index.docker.io" else registry), path
