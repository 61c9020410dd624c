"""Tokens of the pods of a run: signed, about one step of one run, and worth nothing once the run has ended."""

import base64
import binascii
import hashlib
import hmac

import msgspec

from fairway.kube.api.meta import ObjectKey


class Claim(msgspec.Struct, frozen=True):
    """What a token is about; `uid` is that of the run, so that a later one of the same name is not meant."""

    namespace: str
    run: str
    uid: str
    step: str

    @property
    def key(self) -> ObjectKey:
        return ObjectKey(self.namespace, self.run)


class Tokens:
    """Makes and checks tokens with one secret key."""

    def __init__(self, key: bytes) -> None:
        """Raises ValueError for a key that can be guessed."""
        if len(key) < 32:
            raise ValueError("a key for tokens needs 32 bytes")
        self._key = key

    def issue(self, claim: Claim) -> str:
        """The token for a step; the same one whenever it is asked for."""
        body = base64.urlsafe_b64encode(msgspec.json.encode(claim)).decode()
        return f"{body}.{self._sign(body)}"

    def check(self, token: str) -> Claim | None:
        """What a token is about; None when it is not ours. Whether the run still goes on is to be checked besides."""
        body, _, signature = token.partition(".")
        if not hmac.compare_digest(self._sign(body).encode(), signature.encode()):
            return None
        try:
            return msgspec.json.decode(base64.urlsafe_b64decode(body), type=Claim)
        except (binascii.Error, msgspec.DecodeError):
            return None

    def _sign(self, body: str) -> str:
        return hmac.new(self._key, f"run-token:{body}".encode(), hashlib.sha256).hexdigest()
