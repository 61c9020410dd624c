"""Whether a delivery comes from who knows the App's webhook secret; each forge proves it in its own way.

Gitee      help.gitee.com/webhook: the password, or base64(HMAC-SHA256(secret, "<timestamp>\\n<secret>")), URL-encoded
           or not. The body is not signed.
GitHub     docs.github.com "Validating webhook deliveries": X-Hub-Signature-256 over the raw body.
GitLab     X-Gitlab-Token, or the Standard Webhooks signature (standardwebhooks.com) with a whsec_ secret.
GitCode    docs.gitcode.com "WebHook": X-GitCode-Signature-256 over the raw body, or the password in X-GitCode-Token.
Gitea      X-Gitea-Signature or X-Forgejo-Signature: bare hex HMAC-SHA256 of the raw body.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Mapping
from urllib.parse import quote

import msgspec

GITEE, GITHUB, GITLAB, GITEA, GITCODE = "gitee", "github", "gitlab", "gitea", "gitcode"
SKEW_SECONDS = 300.0
SKEW_SECONDS_MAX = 3600.0
_WHSEC = "whsec_"
_DIGEST_PREFIX = "sha256="
_MILLISECONDS_FROM = 10**11


class Delivery(msgspec.Struct, frozen=True):
    """What arrived; header names in lower case, the body untouched."""

    headers: Mapping[str, str]
    body: bytes

    def header(self, name: str) -> str:
        return self.headers.get(name, "")


def forge_of(delivery: Delivery) -> str:
    """Which forge it says it is. Gitea also sends GitHub's headers, so it is looked for first."""
    for forge, names in _MARKS:
        if any(delivery.header(name) for name in names):
            return forge
    return ""


def problem(delivery: Delivery, secret: str, now_seconds: float, skew_seconds: float = SKEW_SECONDS) -> str:
    """Why it is refused; empty when it is genuine. `now_seconds` is Unix time."""
    if not secret:
        return "the App has no webhook secret"
    check = _CHECKS.get(forge_of(delivery))
    if check is None:
        return "no forge is known that sends such headers"
    return check(delivery, secret, now_seconds, min(skew_seconds, SKEW_SECONDS_MAX))


def _gitee(delivery: Delivery, secret: str, now_seconds: float, skew_seconds: float) -> str:
    token, timestamp = delivery.header("x-gitee-token"), delivery.header("x-gitee-timestamp")
    if not token:
        return "X-Gitee-Token is missing"
    if _same(token, secret):
        return ""
    digest = hmac.new(secret.encode(), f"{timestamp}\n{secret}".encode(), hashlib.sha256).digest()
    plain = base64.b64encode(digest).decode()
    if not any(_same(token, form) for form in (plain, quote(plain, safe=""))):
        return "X-Gitee-Token is neither the password nor the signature"
    return _stale(timestamp, now_seconds, skew_seconds)


def _github(delivery: Delivery, secret: str, now_seconds: float, skew_seconds: float) -> str:
    return _hex(delivery, secret, "x-hub-signature-256", _DIGEST_PREFIX)


def _gitcode(delivery: Delivery, secret: str, now_seconds: float, skew_seconds: float) -> str:
    """Where there is a signature it counts: a password beside it proves nothing about the body."""
    if delivery.header("x-gitcode-signature-256"):
        return _hex(delivery, secret, "x-gitcode-signature-256", _DIGEST_PREFIX)
    token = delivery.header("x-gitcode-token")
    if not token:
        return "X-GitCode-Signature-256 is missing"
    return "" if _same(token, secret) else "X-GitCode-Token is not the secret"


def _gitea(delivery: Delivery, secret: str, now_seconds: float, skew_seconds: float) -> str:
    name = "x-forgejo-signature" if delivery.header("x-forgejo-signature") else "x-gitea-signature"
    return _hex(delivery, secret, name, "")


def _gitlab(delivery: Delivery, secret: str, now_seconds: float, skew_seconds: float) -> str:
    if delivery.header("webhook-signature") and secret.startswith(_WHSEC):
        return _standard(delivery, secret, now_seconds, skew_seconds)
    token = delivery.header("x-gitlab-token")
    if not token:
        return "X-Gitlab-Token is missing"
    return "" if _same(token, secret) else "X-Gitlab-Token is not the secret"


def _standard(delivery: Delivery, secret: str, now_seconds: float, skew_seconds: float) -> str:
    try:
        key = base64.b64decode(secret.removeprefix(_WHSEC), validate=True)
    except (binascii.Error, ValueError):
        return "the webhook secret is not base64 after whsec_"
    if not key:
        return "the webhook secret is empty after whsec_"
    identity, timestamp = delivery.header("webhook-id"), delivery.header("webhook-timestamp")
    signed = f"{identity}.{timestamp}.".encode() + delivery.body
    wanted = "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = delivery.header("webhook-signature").split()
    if not any(_same(one, wanted) for one in given):
        return "webhook-signature is not of this body"
    return _stale(timestamp, now_seconds, skew_seconds)


def _hex(delivery: Delivery, secret: str, name: str, prefix: str) -> str:
    given = delivery.header(name)
    if not given:
        return f"{name} is missing"
    wanted = prefix + hmac.new(secret.encode(), delivery.body, hashlib.sha256).hexdigest()
    return "" if _same(given, wanted) else f"{name} is not of this body"


def _stale(timestamp: str, now_seconds: float, skew_seconds: float) -> str:
    """A signature is only good around its time: what was recorded cannot be sent again later."""
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 16):
        return "the timestamp is not a number"
    at = int(timestamp)
    seconds = at / 1000 if at >= _MILLISECONDS_FROM else at
    return "" if abs(now_seconds - seconds) <= skew_seconds else "the timestamp is too far from now"


def _same(given: str, wanted: str) -> bool:
    return hmac.compare_digest(given.encode(), wanted.encode())


Check = Callable[[Delivery, str, float, float], str]
_CHECKS: Mapping[str, Check] = {GITEE: _gitee, GITHUB: _github, GITLAB: _gitlab, GITEA: _gitea, GITCODE: _gitcode}
_MARKS = (
    (GITCODE, ("x-gitcode-event", "x-gitcode-token", "x-gitcode-signature-256")),
    (GITEE, ("x-gitee-event", "x-gitee-token")),
    (GITEA, ("x-forgejo-event", "x-gitea-event", "x-forgejo-signature", "x-gitea-signature")),
    (GITLAB, ("x-gitlab-event", "x-gitlab-token")),
    (GITHUB, ("x-github-event", "x-hub-signature-256")),
)
