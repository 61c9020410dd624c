"""Gitea (docs.gitea.com/api) and Forgejo (forgejo.org/docs), whose APIs are one for what is asked here."""

from fairway.delivery.forges.calls import Api
from fairway.delivery.forges.common import Common
from fairway.delivery.forges.forge import Hook, Report


class Gitea(Common):
    """One repository; `kind` is gitea or forgejo."""

    def __init__(self, api: Api, path: str, kind: str) -> None:
        super().__init__(api, path)
        self._kind = kind

    async def ensure_hook(self, wanted: Hook) -> str:
        config = {"url": wanted.url, "content_type": "json", "secret": wanted.secret}
        body = {"type": self._kind, "active": True, "events": ["push"], "config": config}
        return await self._hooks.ensure(wanted.url, body)

    async def report(self, report: Report) -> None:
        await self._status(report)
