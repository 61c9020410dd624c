"""Which of several edges on one cluster writes the status of Ingresses: the holder of a Lease, as with client-go.

Every edge serves; two that wrote different addresses into the same status would do so for ever.
"""

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from fairway.kube.api import noun
from fairway.kube.api.config import Lease, LeaseSpec
from fairway.kube.api.meta import micro_timestamp
from fairway.kube.api.resource import LEASES
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, Conflict, NotFound, Unreachable
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("edge")
_LEASE_SECONDS = 15
_RENEW_SECONDS = 5.0
_RETRY_SECONDS = 2.0


class Leadership:
    """Holds a Lease, or waits for it. `leads` is True between a renewal and the end of the time that it bought."""

    def __init__(self, client: ApiClient, clock: Clock, *, namespace: str, name: str, identity: str) -> None:
        self._client = client
        self._clock = clock
        self._namespace = namespace
        self._name = name
        self._identity = identity
        self._until = float("-inf")
        self._seen: tuple[object, ...] = ()
        self._seen_at = 0.0

    @property
    def leads(self) -> bool:
        return self._clock.monotonic() < self._until

    async def run(self, gained: Callable[[], None]) -> None:
        """Ask for the Lease again and again until cancelled; `gained` is called when it becomes ours."""
        while True:
            led, asked = self.leads, self._clock.monotonic()
            try:
                held = await self._hold()
            except (AlreadyExists, Conflict):
                held = False  # somebody was quicker
            except (ApiError, Unreachable) as error:
                log.warning("lease", error=error)
                await self._clock.sleep(_RETRY_SECONDS)
                continue  # what was bought lasts
            self._until = asked + _LEASE_SECONDS if held else float("-inf")
            if held and not led:
                log.info("leads", identity=self._identity)
                gained()
            await self._clock.sleep(_RENEW_SECONDS if held else _RETRY_SECONDS)

    async def _hold(self) -> bool:
        """Take or renew the Lease; whether it is ours now. Raises ApiError and Unreachable."""
        now = self._clock.now()
        try:
            raw = await self._client.get(LEASES, self._name, self._namespace)
        except NotFound:
            await self._client.create(LEASES, self._lease({}, now, now), namespace=self._namespace)
            return True
        spec = noun.decode(Lease, raw).spec
        ours = spec.holder_identity == self._identity
        if spec.holder_identity and not ours and self._is_fresh(spec):
            return False
        acquired = spec.acquire_time if ours and spec.acquire_time else now
        await self._client.update(LEASES, self._lease(raw, acquired, now))  # its version refuses the slower of two
        return True

    def _is_fresh(self, spec: LeaseSpec) -> bool:
        """Whether another holder may still be there; by our own clock, because theirs may be wrong."""
        seen = (spec.holder_identity, spec.renew_time)
        if seen != self._seen:
            self._seen, self._seen_at = seen, self._clock.monotonic()
        return self._clock.monotonic() < self._seen_at + (spec.lease_duration_seconds or _LEASE_SECONDS)

    def _lease(self, raw: Mapping[str, Any], acquired: datetime, now: datetime) -> dict[str, Any]:
        spec = {
            "holderIdentity": self._identity,
            "leaseDurationSeconds": _LEASE_SECONDS,
            "acquireTime": micro_timestamp(acquired),
            "renewTime": micro_timestamp(now),
            "leaseTransitions": _transitions(raw.get("spec", {}), self._identity),
        }
        metadata = raw.get("metadata", {"name": self._name, "namespace": self._namespace})
        return {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}


def _transitions(spec: Mapping[str, Any], identity: str) -> int:
    before = int(spec.get("leaseTransitions") or 0)
    return before + (bool(spec) and spec.get("holderIdentity") != identity)
