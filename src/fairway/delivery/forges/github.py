"""GitHub (docs.github.com/rest) and GitHub Enterprise."""

from fairway.delivery.forges.calls import Api
from fairway.delivery.forges.common import Common
from fairway.delivery.forges.forge import Hook, Report

_TEXT_MAX = 140


class GitHub(Common):
    """One repository."""

    def __init__(self, api: Api, path: str) -> None:
        super().__init__(api, path, create="PUT")

    async def ensure_hook(self, wanted: Hook) -> str:
        config = {"url": wanted.url, "content_type": "json", "secret": wanted.secret, "insecure_ssl": "0"}
        return await self._hooks.ensure(wanted.url, {"active": True, "events": ["push"], "config": config})

    async def report(self, report: Report) -> None:
        await self._status(report, text_max=_TEXT_MAX)
