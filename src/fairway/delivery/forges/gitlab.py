"""GitLab (docs.gitlab.com/api)."""

from urllib.parse import quote

from fairway.delivery.forges.calls import Api
from fairway.delivery.forges.forge import CANCELLED, FAILURE, Hook, Hooks, Report, Repository, branch_names, is_there

_STATES = {FAILURE: "failed", CANCELLED: "canceled"}
_TEXT_MAX = 255


class GitLab:
    """One project; `path` is its full path as one percent-encoded word."""

    def __init__(self, api: Api, path: str) -> None:
        self._api = api
        self._at = f"/projects/{path}"
        self._hooks = Hooks(api, f"{self._at}/hooks", "PUT")

    async def repository(self) -> Repository:
        found = await self._api.call("GET", self._at)
        return Repository(str(found["id"]), str(found.get("default_branch") or ""))

    async def branches(self) -> tuple[str, ...]:
        return await branch_names(self._api, f"{self._at}/repository/branches")

    async def ensure_hook(self, wanted: Hook) -> str:
        body = {"url": wanted.url, "token": wanted.secret, "push_events": True, "enable_ssl_verification": True}
        return await self._hooks.ensure(wanted.url, body)

    async def remove_hook(self, url: str) -> None:
        await self._hooks.remove(url)

    async def report(self, report: Report) -> None:
        body = {
            "state": _STATES.get(report.state, report.state),
            "name": report.context,
            "description": report.text[:_TEXT_MAX],
            "target_url": report.url,
        }
        await self._api.call("POST", f"{self._at}/statuses/{report.commit}", body)

    async def write_file(self, path: str, text: str, branch: str, message: str) -> bool:
        place = f"{self._at}/repository/files/{quote(path, safe='')}"
        if await is_there(self._api, f"{place}?ref={quote(branch, safe='')}"):
            return False
        await self._api.call("POST", place, {"branch": branch, "content": text, "commit_message": message})
        return True
