"""What is asked of any forge, whichever it is."""

import base64
from collections.abc import Mapping
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from fairway.delivery.forges.calls import Api
from fairway.delivery.forges.errors import ForgeError

PENDING, RUNNING, SUCCESS, FAILURE, CANCELLED = "pending", "running", "success", "failure", "cancelled"


class Repository(msgspec.Struct, frozen=True):
    """A repository as the forge knows it; its id stays when it is renamed and is never given again."""

    id: str
    default_branch: str = ""


class Hook(msgspec.Struct, frozen=True):
    """Where pushes are to be told, and the secret that proves it."""

    url: str
    secret: str

    def __repr__(self) -> str:
        return f"Hook({self.url.rpartition('/')[0]})"


class Report(msgspec.Struct, frozen=True):
    """A line beside a commit. `state` is one of the constants above."""

    commit: str
    context: str
    state: str
    text: str
    url: str = ""


class Forge(Protocol):
    """One repository at one forge. Every method raises ForgeError and ForgeBusy."""

    async def repository(self) -> Repository: ...

    async def branches(self) -> tuple[str, ...]: ...

    async def ensure_hook(self, wanted: Hook) -> str:
        """Make the webhook what it should be; returns its id. One with the same path is changed, none made twice."""
        ...

    async def remove_hook(self, url: str) -> None:
        """Take away every webhook with this URL's path."""
        ...

    async def report(self, report: Report) -> None: ...

    async def write_file(self, path: str, text: str, branch: str, message: str) -> bool:
        """Create the file unless it is there; returns whether it was created. Nothing is ever overwritten."""
        ...


class Hooks:
    """Webhooks in the way that all these APIs share: a collection, and one address for each.

    Ours are known by their URL's path, which nobody else can have; the host may change with the platform's domain.
    """

    def __init__(self, api: Api, path: str, change: str) -> None:
        self._api, self._path, self._change = api, path, change

    async def ensure(self, url: str, body: Mapping[str, Any]) -> str:
        mine = await self._mine(url)
        for surplus in mine[1:]:
            await self._api.call("DELETE", f"{self._path}/{surplus}")
        if mine:
            await self._api.call(self._change, f"{self._path}/{mine[0]}", body)
            return mine[0]
        made = await self._api.call("POST", self._path, body)
        return str(made["id"])

    async def remove(self, url: str) -> None:
        for one in await self._mine(url):
            await self._api.call("DELETE", f"{self._path}/{one}")

    async def _mine(self, url: str) -> list[str]:
        found = await self._api.call("GET", f"{self._path}?per_page=100&limit=100")
        path = urlsplit(url).path
        return [str(one["id"]) for one in found or () if urlsplit(_url_of(one)).path == path]


def _url_of(hook: Mapping[str, Any]) -> str:
    return str((hook.get("config") or hook).get("url") or "")


async def branch_names(api: Api, path: str) -> tuple[str, ...]:
    """The first hundred branches."""
    found = await api.call("GET", f"{path}?per_page=100&limit=100")
    return tuple(str(one["name"]) for one in found or ())


async def is_there(api: Api, path: str) -> bool:
    """Whether there is a file; Gitee answers with an empty list when there is none. Raises ForgeError, ForgeBusy."""
    try:
        return bool(await api.call("GET", path))
    except ForgeError as error:
        if error.status == 404:
            return False
        raise


def encoded(text: str) -> str:
    """A file's text as these APIs take it."""
    return base64.b64encode(text.encode()).decode()
