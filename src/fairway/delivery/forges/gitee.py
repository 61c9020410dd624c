"""Gitee (gitee.com/api/v5). It has no commit statuses: check runs tell, and where those are refused a comment does."""

from typing import Any

from fairway.delivery.forges.common import Common
from fairway.delivery.forges.errors import ForgeBusy, ForgeError
from fairway.delivery.forges.forge import PENDING, RUNNING, Hook, Report

_STATUSES = {PENDING: "queued", RUNNING: "in_progress"}
_SIGNED = 1
"""`encryption_type`: the secret signs, it is not sent."""


class Gitee(Common):
    """One repository."""

    async def ensure_hook(self, wanted: Hook) -> str:
        body = {"url": wanted.url, "encryption_type": _SIGNED, "password": wanted.secret, "push_events": True}
        return await self._hooks.ensure(wanted.url, body)

    async def report(self, report: Report) -> None:
        try:
            await self._check_run(report)
        except ForgeBusy:
            raise
        except ForgeError:
            if report.state in _STATUSES:
                return  # a comment is for what has ended; two more would only be noise
            text = f"**{report.context}**: {report.text} {report.url}".strip()
            await self._api.call("POST", f"{self._at}/commits/{report.commit}/comments", {"body": text})

    async def _check_run(self, report: Report) -> None:
        body: dict[str, Any] = {
            "name": report.context,
            "head_sha": report.commit,
            "details_url": report.url,
            "status": _STATUSES.get(report.state, "completed"),
            "output": {"title": report.context, "summary": report.text},
        }
        if report.state not in _STATUSES:
            body["conclusion"] = report.state  # success, failure and cancelled are its words too
        found = await self._api.call("GET", f"{self._at}/commits/{report.commit}/check-runs?per_page=100") or {}
        runs = found.get("check_runs", ()) if isinstance(found, dict) else found
        same = next((one for one in runs if one.get("name") == report.context), None)
        if same is None:
            await self._api.call("POST", f"{self._at}/check-runs", body)
        else:
            await self._api.call("PATCH", f"{self._at}/check-runs/{same['id']}", body)
