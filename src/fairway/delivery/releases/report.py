"""What a Release tells of itself: its status, its Events, one line of the log."""

from typing import Any

from fairway.delivery.kinds.releases import Diagnosis, Release
from fairway.delivery.kinds.resources import RELEASES
from fairway.delivery.releases.plan import POLICY, REFUSED, Row
from fairway.kube.api.meta import ObjectReference, timestamp
from fairway.kube.api.noun import decode, encode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("delivery")
Raw = dict[str, Any]
_MESSAGE_LENGTH_MAX = 2000


class Report:
    """Writes verdicts. Every method raises Conflict when the Release is no longer what was looked at."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._events = EventRecorder(client, "fairway-delivery", clock)

    async def live(self, release: Release, remark: str = "") -> None:
        """Every pod is ready; `remark` is why people may not get there yet."""
        now = timestamp(self._clock.now())
        told = f"; the edge has not taken it yet: {remark}" if remark else ""
        condition = {"type": "Live", "status": "True", "reason": "RolledOut", "lastTransitionTime": now}
        patch = {
            "phase": "Live",
            "reason": "RolledOut",
            "message": f"every pod is ready{told}",
            "finishedAt": now,
            "conditions": [{**condition, "message": remark}],
        }
        if await self.patch(release, patch) is not None:
            log.info("live", release=release.metadata.key, seconds=self._age(release), remark=remark or None)
            await self.tell(release, "Normal", "Live", f"v{release.spec.number} is live{told}")

    async def failed(
        self, release: Release, row: Row, reason: str, text: str, diagnosis: Diagnosis | None = None
    ) -> None:
        """It will not get there; what happens now is part of the message."""
        text = f"{text}; {consequence(release, reason, row)}"
        patch: Raw = {
            "phase": "Failed",
            "reason": reason,
            "message": text[:_MESSAGE_LENGTH_MAX],
            "finishedAt": timestamp(self._clock.now()),
            "diagnosis": encode(diagnosis) if diagnosis is not None else None,
        }
        if await self.patch(release, patch) is not None:
            log.info("failed", release=release.metadata.key, reason=reason, seconds=self._age(release))
            await self.tell(release, "Warning", "Failed", text)

    async def superseded(self, release: Release, newest: Release) -> None:
        """A newer one came."""
        finished = {} if release.status.finished_at is not None else {"finishedAt": timestamp(self._clock.now())}
        text = f"{newest.metadata.name} came after it"
        await self.patch(release, {"phase": "Superseded", "reason": "Newer", "message": text, **finished})

    async def patch(self, release: Release, change: Raw) -> Release | None:
        """Change the status of what was looked at; None when it is gone."""
        metadata = release.metadata
        patch = {"metadata": {"uid": metadata.uid, "resourceVersion": metadata.resource_version}, "status": change}
        try:
            raw = await self._client.patch(
                RELEASES, metadata.name, patch, namespace=metadata.namespace, subresource="status"
            )
        except NotFound:
            return None
        return decode(Release, raw)

    async def tell(self, release: Release, type: str, reason: str, text: str) -> None:
        """An Event on the Release."""
        meta = release.metadata
        reference = ObjectReference(
            RELEASES.api_version, RELEASES.kind, meta.namespace, meta.name, meta.uid, meta.resource_version
        )
        await self._events.record(reference, type, reason, text)

    def _age(self, release: Release) -> str | None:
        made = release.metadata.creation_timestamp
        return f"{(self._clock.now() - made).total_seconds():.1f}" if made is not None else None


def consequence(release: Release, reason: str, row: Row) -> str:
    """What happens now, for people."""
    live = row.live
    if release.spec.adopted and reason == REFUSED:
        return "its objects stay as the jobs left them"
    if live is None:
        return "there is no earlier live Release to go back to"
    serves = f"v{live.spec.number} serves on"
    if reason == REFUSED:
        return f"nothing was changed, {serves}"
    if release.spec.actor == POLICY or release.spec.on_failure != "rollback":
        return f"its objects are left for a look, {serves} with its pods"
    return f"{serves}, and the policy goes back to it"
