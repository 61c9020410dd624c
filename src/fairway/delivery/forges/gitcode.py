"""GitCode (docs.gitcode.com). It documents no statuses of commits: a comment tells how it ended."""

from fairway.delivery.forges.common import Common
from fairway.delivery.forges.forge import PENDING, RUNNING, Hook, Report

_SIGNED = 1
"""`encryption_type`: the secret signs (X-GitCode-Signature-256), it is not sent."""


class GitCode(Common):
    """One repository."""

    async def ensure_hook(self, wanted: Hook) -> str:
        body = {"url": wanted.url, "encryption_type": _SIGNED, "password": wanted.secret, "push_events": True}
        return await self._hooks.ensure(wanted.url, body)

    async def report(self, report: Report) -> None:
        if report.state in (PENDING, RUNNING):
            return  # a comment is for what has ended
        text = f"**{report.context}**: {report.text} {report.url}".strip()
        await self._api.call("POST", f"{self._at}/commits/{report.commit}/comments", {"body": text})
