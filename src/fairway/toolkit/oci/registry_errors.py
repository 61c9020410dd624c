"""What can go wrong with a registry, in the words that container runtimes use, so that they can be searched for."""

import socket
import ssl
import urllib.parse

from fairway.toolkit.http_client import ProtocolError, Timeout, Unreachable


class RegistryError(Exception):
    """A registry that did not give what was asked for; the message is fit for a user."""


class NotFound(RegistryError):
    """No such image or blob there."""


class AccessDenied(RegistryError):
    """Not without other credentials."""


class RegistryUnavailable(RegistryError):
    """Not reachable, or out of order; trying again may help."""


def reason(error: Exception, url: str) -> str:
    """The words that container runtimes use, so that they can be searched for."""
    parts = urllib.parse.urlsplit(url)
    place = f"{parts.hostname}:{parts.port or (443 if parts.scheme == 'https' else 80)}"
    cause = error.__cause__
    if isinstance(error, Timeout) or isinstance(cause, TimeoutError):
        return f"dial tcp {place}: i/o timeout"
    if isinstance(cause, socket.gaierror):
        return f"dial tcp: lookup {parts.hostname}: no such host"
    if isinstance(cause, ConnectionRefusedError):
        return f"dial tcp {place}: connect: connection refused"
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"tls: failed to verify certificate: x509: {cause.verify_message}"
    if isinstance(error, ProtocolError | Unreachable):
        return str(error)
    return f"{type(error).__name__}: {error}"


def refusal(method: str, url: str, status: int) -> RegistryError:
    """The error for an answer that is not 2xx."""
    if status == 404:
        return NotFound("not found")
    if status in (401, 403):
        return AccessDenied(denied("server message: insufficient_scope: authorization failed"))
    text = f"unexpected status from {method} request to {url.partition('?')[0]}: {status}"
    if status in (408, 429) or status >= 500:
        return RegistryUnavailable(text)
    return RegistryError(text)


def denied(detail: str) -> str:
    """How a refused login reads."""
    return f"pull access denied, repository does not exist or may require authorization: {detail}"
