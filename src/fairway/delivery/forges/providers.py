"""Which forge an App's repository is at, where its API is, and what the repository is called there."""

from urllib.parse import quote, urlsplit

import msgspec

from fairway.delivery.git.errors import SourceError
from fairway.delivery.kinds.apps import Source

_HOSTS = {
    "gitee.com": "gitee",
    "gitcode.com": "gitcode",
    "github.com": "github",
    "gitlab.com": "gitlab",
    "codeberg.org": "forgejo",
}
_APIS = {
    "gitee.com": "https://gitee.com/api/v5",
    "gitcode.com": "https://api.gitcode.com/api/v5",
    "github.com": "https://api.github.com",
    "gitlab.com": "https://gitlab.com/api/v4",
    "codeberg.org": "https://codeberg.org/api/v1",
}
_PATHS = {
    "gitee": "/api/v5",
    "gitcode": "/api/v5",
    "github": "/api/v3",
    "gitlab": "/api/v4",
    "gitea": "/api/v1",
    "forgejo": "/api/v1",
}


class Place(msgspec.Struct, frozen=True):
    """A repository at a forge. `path` is percent-encoded: owner/name, or with GitLab all groups as one word."""

    provider: str
    api_url: str
    path: str


def provider_of(source: Source) -> str:
    """gitee, gitcode, github, gitlab, gitea, forgejo, or git for one whose API is not known."""
    host = (urlsplit(source.repository).hostname or "").removeprefix("www.")
    return source.provider or _HOSTS.get(host, "git")


def place_of(source: Source) -> Place | None:
    """None when it has no API that we know. Raises SourceError naming the field."""
    provider = provider_of(source)
    if provider not in _PATHS:
        return None
    parts = urlsplit(source.repository)
    words = [word for word in parts.path.removesuffix("/").removesuffix(".git").split("/") if word]
    if len(words) < 2 or (provider != "gitlab" and len(words) != 2):
        raise SourceError(f"spec.source.repository: {source.repository} is not like https://HOST/OWNER/NAME.git")
    api = source.api_url or _APIS.get(parts.hostname or "") or f"{parts.scheme}://{parts.netloc}{_PATHS[provider]}"
    path = quote("/".join(words), safe="") if provider == "gitlab" else "/".join(quote(one, safe="") for one in words)
    return Place(provider, api.rstrip("/"), path)
