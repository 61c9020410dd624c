"""What to do about one Secret: nothing, a certificate, or its removal."""

from collections.abc import Mapping
from datetime import datetime

import msgspec

from fairway.certificates.order import Order
from fairway.kube.api.config import Secret
from fairway.kube.api.issued import CONTENT, content_mark, is_issued
from fairway.kube.api.meta import timestamp

HOSTS = "certificates.fairway.dev/hosts"
NOT_AFTER = "certificates.fairway.dev/not-after"
RENEW_AFTER = "certificates.fairway.dev/renew-after"
AUTHORITY = "certificates.fairway.dev/authority"
_LOOK_AGAIN_SECONDS_MIN = 0.1


class Issue(msgspec.Struct, frozen=True):
    """Sign a certificate for `hosts`; `replaces` is the revision of the Secret that holds the old one, or ""."""

    hosts: tuple[str, ...]
    why: str
    replaces: str = ""


class Remove(msgspec.Struct, frozen=True):
    """Nobody asks for it and it is over."""

    uid: str
    resource_version: str


class Wait(msgspec.Struct, frozen=True):
    """Nothing to do; look again after `seconds`, or never when it is None."""

    seconds: float | None = None


Step = Issue | Remove | Wait


def plan(order: Order, secret: Secret | None, authority: str, now: datetime) -> Step:
    """`authority` is the fingerprint of who signs now. A Secret that a person made, or filled anew, is left alone."""
    if secret is None:
        return Issue(order.hosts, "there was none") if order.hosts else Wait()
    if not is_issued(secret):
        return Wait()
    if not order.hosts:
        return _unwanted(secret, now)
    if why := _stale(order, secret.metadata.annotations, authority, now):
        return Issue(order.hosts, why, secret.metadata.resource_version)
    return Wait(_seconds(_moment(secret, RENEW_AFTER), now))


def annotations(
    hosts: tuple[str, ...], certificate_base64: str, authority: str, renew_after: datetime, not_after: datetime
) -> dict[str, str]:
    """What is remembered on the Secret, so that the next look needs no parsing of certificates."""
    return {
        HOSTS: ",".join(hosts),
        NOT_AFTER: timestamp(not_after),
        RENEW_AFTER: timestamp(renew_after),
        AUTHORITY: authority[:32],
        CONTENT: content_mark(certificate_base64),
    }


def _stale(order: Order, notes: Mapping[str, str], authority: str, now: datetime) -> str:
    if notes.get(HOSTS) != ",".join(order.hosts):
        return "the hosts changed"
    if notes.get(AUTHORITY) != authority[:32]:
        return "the authority is another one"
    if _parse(notes.get(RENEW_AFTER, "")) is None or now >= (_parse(notes.get(RENEW_AFTER, "")) or now):
        return "two thirds of its lifetime are over"
    return ""


def _unwanted(secret: Secret, now: datetime) -> Step:
    """Kept while it is valid: an Ingress that is deleted and made again finds its certificate."""
    until = _moment(secret, NOT_AFTER)
    if until is None or now >= until:
        return Remove(secret.metadata.uid, secret.metadata.resource_version)
    return Wait(_seconds(until, now))


def _moment(secret: Secret, note: str) -> datetime | None:
    return _parse(secret.metadata.annotations.get(note, ""))


def _seconds(moment: datetime | None, now: datetime) -> float:
    return max((moment - now).total_seconds() if moment else 0.0, _LOOK_AGAIN_SECONDS_MIN)


def _parse(text: str) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment if moment.tzinfo else None
