"""One call of a forge's API: only to addresses that users may reach, over TLS, without following redirects."""

import asyncio
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

import msgspec

from fairway.delivery.forges.errors import ForgeBusy, ForgeError
from fairway.delivery.git import guard
from fairway.delivery.git.errors import SourceError, printable
from fairway.toolkit.http_client import HttpClient, HttpError, Response, Streams

_ANSWER_BYTES_MAX = 4 << 20
_TIMEOUT_SECONDS = 10.0
_AGAIN_SECONDS = 60.0
_AGAIN_SECONDS_MAX = 3600.0
_ADVICE = {
    401: "the token of spec.source.credentialsSecret is not known there",
    403: "the token may not do that; it needs the rights to webhooks, statuses and the repository",
    404: "there is no such repository for this token; look at spec.source.repository and spec.source.apiUrl",
    422: "it refuses the request",
}


class Api(msgspec.Struct, frozen=True):
    """A forge's API as one App uses it. `authority` is a PEM certificate to trust beside the public ones."""

    url: str
    headers: tuple[tuple[str, str], ...]
    allowed: guard.Allowed = guard.Allowed()
    authority: str = ""

    def __repr__(self) -> str:
        return f"Api({self.url})"  # the headers hold the token

    async def call(self, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """The answer's JSON; None when it has no body. Raises ForgeError, ForgeBusy."""
        parts = urlsplit(self.url)
        try:
            remote = await guard.resolve(self.url, self.allowed)
        except SourceError as error:
            raise ForgeBusy(f"spec.source.apiUrl: {error}") from None
        if parts.scheme != "https" and remote.host not in self.allowed.hosts:
            raise ForgeError(f"spec.source.apiUrl: {self.url} must be https, since the token goes there")
        context = self._context() if parts.scheme == "https" else None
        headers = [*self.headers, ("Accept", "application/json"), ("User-Agent", "fairway")]
        data = None
        if body is not None:
            data = msgspec.json.encode(body)
            headers.append(("Content-Type", "application/json"))
        try:
            async with HttpClient(_connector(remote, context), host_header=parts.netloc) as client:
                answer = await client.request(
                    method, parts.path + path, headers=headers, body=data, timeout_seconds=_TIMEOUT_SECONDS
                )
                async with asyncio.timeout(_TIMEOUT_SECONDS):
                    text = await _read(answer)
        except (HttpError, TimeoutError) as error:
            raise ForgeBusy(f"{parts.netloc} does not answer: {printable(str(error))[:200]}") from None
        return _checked(f"{method} {parts.netloc}{path.partition('?')[0]}", answer, text)

    def _context(self) -> ssl.SSLContext:
        context = ssl.create_default_context()
        if self.authority:
            try:
                context.load_verify_locations(cadata=self.authority)
            except (ssl.SSLError, ValueError):
                raise ForgeError("spec.source.caSecret: its ca.crt holds no PEM certificate") from None
        return context


def _connector(remote: guard.Remote, context: ssl.SSLContext | None) -> Any:
    """Connect to the addresses that were checked, whatever DNS says by now."""

    async def connect() -> Streams:
        problem: OSError | None = None
        for address in remote.addresses:
            try:
                name = remote.host if context else None
                return await asyncio.open_connection(address, remote.port, ssl=context, server_hostname=name)
            except OSError as error:
                problem = error
        raise problem or OSError("the host has no address")

    return connect


async def _read(answer: Response) -> bytes:
    """Raises HttpError, ForgeBusy."""
    data = bytearray()
    async for piece in answer.iter_bytes():
        data += piece
        if len(data) > _ANSWER_BYTES_MAX:
            raise ForgeBusy("the forge's answer is too large")
    return bytes(data)


def _checked(what: str, answer: Response, text: bytes) -> Any:
    status = answer.status
    if status < 300:
        try:
            return msgspec.json.decode(text) if text.strip() else None
        except msgspec.DecodeError:
            raise ForgeError(f"{what}: the answer is not JSON; look at spec.source.apiUrl") from None
    limited = status == 403 and answer.headers.get("x-ratelimit-remaining") == "0"
    if status in (408, 425, 429) or status >= 500 or limited:
        raise ForgeBusy(f"{what}: {status}, it cannot answer now", status, _again(answer.headers.get("retry-after")))
    said = printable(text[:200].decode("utf-8", "replace"))
    raise ForgeError(f"{what}: {status}, {_ADVICE.get(status, 'it refuses the request')} ({said})", status)


def _again(header: str | None) -> float:
    seconds = float(header) if header and header.isascii() and header.isdigit() else _AGAIN_SECONDS
    return max(1.0, min(seconds, _AGAIN_SECONDS_MAX))
