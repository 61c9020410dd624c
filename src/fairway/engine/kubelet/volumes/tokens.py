"""ServiceAccount tokens for projected volumes: asked for through the API, renewed long before they end.

Follows KEP-1205: a token is renewed when 80 % of its time, or a day, has passed.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec

from fairway.kube.api.pods import Pod, Volume
from fairway.kube.api.resource import SERVICE_ACCOUNTS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, Unreachable
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("kubelet")

_SECONDS = 3600
_RENEW_AFTER = 0.8
_RENEW_AFTER_MAX = timedelta(days=1)
_RETRY = timedelta(seconds=60)


class TokenSource(msgspec.Struct, frozen=True):
    """One `serviceAccountToken` of a projected volume."""

    path: str
    audience: str
    seconds: int


class _Token(msgspec.Struct, frozen=True):
    text: str
    ends: datetime
    renew: datetime

    def __repr__(self) -> str:
        return f"_Token(ends={self.ends})"  # never the token


_Key = tuple[str, str, str]
"""Pod UID, volume, path."""


class Tokens:
    """The tokens of every pod of this node. They are kept in memory only: a new engine asks for new ones."""

    def __init__(self, client: ApiClient, clock: Clock) -> None:
        self._client = client
        self._clock = clock
        self._tokens: dict[_Key, _Token] = {}
        self._retry: dict[_Key, datetime] = {}
        """When to ask again for what was refused."""

    async def of(self, pod: Pod, volume: Volume) -> Mapping[str, str]:
        """The tokens of a volume by path. Raises ApiError, Unreachable when there is none that is still good."""
        return {source.path: await self._token(pod, volume, source) for source in sources(volume)}

    def stale_in(self, pod: Pod) -> float | None:
        """Seconds until a token of the pod should be renewed; 0 when one is due, None when it has none."""
        keys = [_key(pod, volume, source) for volume in pod.spec.volumes for source in sources(volume)]
        if not keys:
            return None
        now = self._clock.now()
        due = (self._retry.get(key) or (self._tokens[key].renew if key in self._tokens else now) for key in keys)
        return max(0.0, (min(due) - now).total_seconds())

    async def _token(self, pod: Pod, volume: Volume, source: TokenSource) -> str:
        key, now = _key(pod, volume, source), self._clock.now()
        known = self._tokens.get(key)
        if known is not None and now < known.renew:
            return known.text
        self._tokens = {each: token for each, token in self._tokens.items() if now < token.ends or each == key}
        self._retry = {each: time for each, time in self._retry.items() if now < time}
        try:
            self._tokens[key] = await self._request(pod, source)
        except (ApiError, Unreachable) as error:
            self._retry[key] = now + _RETRY
            if known is None or now >= known.ends:
                raise
            log.warning("failed to renew a token", pod=pod.metadata.key, error=error)
        return self._tokens[key].text

    async def _request(self, pod: Pod, source: TokenSource) -> _Token:
        metadata = pod.metadata
        reference = {"apiVersion": "v1", "kind": "Pod", "name": metadata.name, "uid": metadata.uid}
        spec: dict[str, Any] = {"expirationSeconds": source.seconds, "boundObjectRef": reference}
        if source.audience:
            spec["audiences"] = [source.audience]
        body = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
        account = pod.spec.service_account_name or "default"
        now = self._clock.now()
        made = await self._client.create_subresource(
            SERVICE_ACCOUNTS, account, "token", body, namespace=metadata.namespace
        )
        ends = datetime.fromisoformat(made["status"]["expirationTimestamp"])
        return _Token(made["status"]["token"], ends, now + min((ends - now) * _RENEW_AFTER, _RENEW_AFTER_MAX))


def sources(volume: Volume) -> tuple[TokenSource, ...]:
    """The tokens that a volume is to hold."""
    listed = (volume.projected or {}).get("sources") or ()
    tokens = [source["serviceAccountToken"] for source in listed if source.get("serviceAccountToken")]
    return tuple(
        TokenSource(token.get("path", ""), token.get("audience") or "", token.get("expirationSeconds") or _SECONDS)
        for token in tokens
    )


def _key(pod: Pod, volume: Volume, source: TokenSource) -> _Key:
    return pod.metadata.uid, volume.name, source.path
