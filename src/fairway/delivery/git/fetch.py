"""Commits from a forge."""

import asyncio
import base64
import re
from pathlib import Path

import msgspec

from fairway.delivery.git import guard
from fairway.delivery.git.errors import FULL, GitFailed, SourceError, printable
from fairway.delivery.git.process import Git
from fairway.kube.api.noun import Noun
from fairway.toolkit import files

_AUTHORITY = "authority.crt"
_TEXTS = (
    (
        r"could not read Username|Authentication failed|error: 401",
        "the forge wants credentials, or refuses those it got",
    ),
    (r"error: 403", "the forge refuses these credentials"),
    (r"not found|error: 404", "there is no repository there that these credentials may see"),
    (r"error: 30\d|unable to update url base", "the repository has moved; write its new URL"),
    (r"Could not resolve host|Failed to connect|Connection refused|timed out", "the forge cannot be reached"),
    (r"SSL|certificate", "the certificate of the forge is not trusted"),
    (r"No space left on device|Disk quota exceeded", FULL),
    (r"File too large|SIGXFSZ|exceeds", "the repository is too large"),
    (r"does not appear to be a git repository|not valid: is this a git", "there is no git repository there"),
)


class Login(Noun, frozen=True):
    """Who we are at a forge; with a token the user name is what the forge wants there, often anything."""

    username: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.username})"  # never the password


class Reach(msgspec.Struct, frozen=True):
    """Where fetches may go beyond public and private networks."""

    allowed: guard.Allowed = guard.Allowed()
    local: bool = False


class Wish(msgspec.Struct, frozen=True):
    """What to fetch."""

    url: str
    branch: str
    login: Login | None = None
    authority: str = ""
    """PEM certificates to trust there instead of the public authorities."""


async def fetch(git: Git, repository: Path, wish: Wish, reach: Reach) -> None:
    """Make the repository's branch what it is at the forge, with one commit of depth. Raises SourceError."""
    local = wish.url.startswith("/") and reach.local
    configuration = {} if local else await _remote(wish, reach)
    url = f"file://{wish.url}" if local else wish.url
    if wish.authority and not local:
        await asyncio.to_thread(_keep_authority, git, repository, wish.authority)
        configuration = {**configuration, "http.sslCAInfo": _AUTHORITY}
    ref = f"refs/heads/{wish.branch}"
    options = ("--depth=1", "--no-tags", "--force", "--no-recurse-submodules", "--no-write-fetch-head", "--quiet")
    try:
        await git.output(
            ("fetch", *options, "--update-shallow", "--end-of-options", url, f"+{ref}:{ref}"),
            repository,
            configuration=configuration,
            environment={"GIT_ALLOW_PROTOCOL": "file"} if local else {},
            timeout_seconds=git.limits.fetch_timeout_seconds,
            file_bytes_max=git.limits.fetch_bytes_max,
            as_owner=not local,  # a person's folder is closed to others
        )
    except GitFailed as error:
        raise SourceError(_text(error, wish)) from None  # git's own text may hold what we keep to ourselves
    finally:
        if local:
            await asyncio.to_thread(git.own_all, repository)


def _keep_authority(git: Git, repository: Path, pem: str) -> None:
    """Where git finds it: its working folder is the repository, by whatever path it sees that. Raises OSError."""
    path = repository / _AUTHORITY
    files.replace(path, pem.encode())
    git.own(path)


async def _remote(wish: Wish, reach: Reach) -> dict[str, str]:
    """The connection goes to the addresses that were checked; the login travels by the environment of our own user."""
    remote = await guard.resolve(wish.url, reach.allowed)
    told = {}
    if remote.host not in remote.addresses:
        addresses = ",".join(f"[{one}]" if ":" in one else one for one in remote.addresses)
        told["http.curloptResolve"] = f"{remote.host}:{remote.port}:{addresses}"
    if wish.login is not None:
        pair = f"{wish.login.username}:{wish.login.password}".encode()
        told["http.extraHeader"] = f"Authorization: Basic {base64.b64encode(pair).decode()}"
    return told


def _text(error: GitFailed, wish: Wish) -> str:
    """What a person can act on."""
    said = error.stderr
    if re.search(r"couldn't find remote ref|Remote branch .* not found", said):
        return f'{wish.url} has no branch "{wish.branch}"; push one, or name another in spec.source.branch'
    for pattern, text in _TEXTS:
        if re.search(pattern, said, re.IGNORECASE):
            return f"{wish.url}: {text}"
    last = printable(said.strip().rpartition("\n")[2]) or printable(str(error))
    return f"{wish.url} cannot be fetched: {_without(last, wish.login)}"[:500]


def _without(text: str, login: Login | None) -> str:
    return text.replace(login.password, "…") if login is not None and login.password else text
