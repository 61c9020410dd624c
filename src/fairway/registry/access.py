"""From an Authorization header to what its bearer may do."""

import base64
import binascii
from datetime import datetime

import msgspec

from fairway.registry.errors import RegistryProblem
from fairway.registry.tokens import Table, Token
from fairway.toolkit.http_messages import Request

CHALLENGE = ("WWW-Authenticate", 'Basic realm="fairway registry", charset="UTF-8"')
_ANONYMOUS = {"none": (), "pull": ("pull",), "all": ("pull", "push", "delete")}


class Caller(msgspec.Struct, frozen=True):
    """Who asks: a token's bearer, or nobody known."""

    token: Token | None
    anonymous: tuple[str, ...]

    def may(self, repository: str, action: str) -> bool:
        return action in self.anonymous or (self.token is not None and self.token.allows(repository, action))

    def require(self, repository: str, action: str) -> None:
        """Raises RegistryProblem: 401 to those who may log in, 403 to those who have."""
        if self.may(repository, action):
            return
        if self.token is None:
            raise unauthorized("authentication required")
        raise RegistryProblem("DENIED", f"token {self.token.name} may not {action} in {repository}")

    def require_some(self) -> None:
        """For the base URL, where clients learn whether to log in: only who may write without it need not."""
        if self.token is None and "push" not in self.anonymous:
            raise unauthorized("authentication required")


class Doorkeeper:
    """Reads who asks."""

    def __init__(self, table: Table, anonymous: str) -> None:
        self._table = table
        self._anonymous = _ANONYMOUS[anonymous]

    def caller(self, request: Request, now: datetime) -> Caller:
        """Raises RegistryProblem when there are credentials and they are wrong; BadTable, OSError."""
        secret = _secret(request.header("authorization"))
        if not secret:
            return Caller(None, self._anonymous)
        token = self._table.find(secret, now)
        if token is None:
            raise unauthorized("the credentials are not valid")
        return Caller(token, self._anonymous)


def unauthorized(message: str) -> RegistryProblem:
    """401 with the way to log in."""
    return RegistryProblem("UNAUTHORIZED", message, headers=(CHALLENGE,))


def _secret(header: str) -> str:
    """The token in a header; with Basic it is the password, and some clients send empty ones to say "nobody"."""
    scheme, _, value = header.strip().partition(" ")
    if scheme.lower() == "bearer":
        return value.strip()
    if scheme.lower() != "basic":
        return ""
    try:
        user, _, password = base64.b64decode(value.strip(), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise unauthorized("the Authorization header cannot be read") from None
    return password or user
