"""What GitHub, Gitee, GitCode, Gitea and Forgejo have in common: the shape that GitHub's API gave them all."""

from urllib.parse import quote

from fairway.delivery.forges.calls import Api
from fairway.delivery.forges.forge import CANCELLED, RUNNING, Hooks, Report, Repository, branch_names, encoded, is_there

_STATES = {RUNNING: "pending", CANCELLED: "error"}
_TEXT_MAX = 255


class Common:
    """One repository, `path` being owner/name; `create` is the method that makes a file."""

    def __init__(self, api: Api, path: str, create: str = "POST") -> None:
        self._api = api
        self._at = f"/repos/{path}"
        self._hooks = Hooks(api, f"{self._at}/hooks", "PATCH")
        self._create = create

    async def repository(self) -> Repository:
        found = await self._api.call("GET", self._at)
        return Repository(str(found["id"]), str(found.get("default_branch") or ""))

    async def branches(self) -> tuple[str, ...]:
        return await branch_names(self._api, f"{self._at}/branches")

    async def remove_hook(self, url: str) -> None:
        await self._hooks.remove(url)

    async def write_file(self, path: str, text: str, branch: str, message: str) -> bool:
        place = f"{self._at}/contents/{quote(path)}"
        if await is_there(self._api, f"{place}?ref={quote(branch, safe='')}"):
            return False
        await self._api.call(self._create, place, {"message": message, "content": encoded(text), "branch": branch})
        return True

    async def _status(self, report: Report, text_max: int = _TEXT_MAX) -> None:
        """A commit status, which Gitee and GitCode have not."""
        body = {
            "state": _STATES.get(report.state, report.state),
            "context": report.context,
            "description": report.text[:text_max],
            "target_url": report.url,
        }
        await self._api.call("POST", f"{self._at}/statuses/{report.commit}", body)
