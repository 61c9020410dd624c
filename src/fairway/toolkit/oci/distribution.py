"""Read from an image registry (OCI distribution spec 1.1, Docker registry API v2)."""

import asyncio
import ipaddress
import ssl
import urllib.parse
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from fairway.toolkit.content_store import BlobWriter, sha256
from fairway.toolkit.http_client import (
    Dialer,
    HttpClient,
    HttpError,
    Response,
    dial,
    dialing_connector,
)
from fairway.toolkit.oci.authentication import Challenge, Login, parse_challenges, token_query
from fairway.toolkit.oci.documents import INDEXES, MANIFESTS, Descriptor
from fairway.toolkit.oci.registry_errors import (
    AccessDenied,
    RegistryError,
    RegistryUnavailable,
    denied,
    reason,
    refusal,
)

_ACCEPT = ("Accept", ", ".join((*MANIFESTS, *INDEXES)))
_MANIFEST_BYTES_MAX = 4 << 20
_TOKEN_BYTES_MAX = 1 << 20
_WRITE_BYTES = 1 << 20
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_REDIRECTS_MAX = 5
_ATTEMPTS = 4
_TLS_TRIAL_SECONDS = 5
_HOSTS = {"docker.io": "registry-1.docker.io"}


class Settings(msgspec.Struct, frozen=True):
    """How registries are reached. Loopback addresses always count as insecure, as with Docker.

    `insecure` hosts (with port, as in image names) may use plain HTTP or an unverified certificate;
    `authorities` is a folder with `<host[:port]>/ca.crt` files for private certificate authorities.
    """

    insecure: frozenset[str] = frozenset()
    authorities: Path | None = None
    answer_seconds: float = 20
    stall_seconds: float = 60


class ManifestAnswer(msgspec.Struct, frozen=True):
    """A manifest or index as the registry sent it."""

    digest: str
    media_type: str
    data: bytes


class _Token(msgspec.Struct, frozen=True):
    token: str = ""
    access_token: str = ""


class RegistryClient:
    """One registry, one login, for as long as one pull takes."""

    def __init__(
        self, registry: str, *, dialer: Dialer = dial, login: Login | None = None, settings: Settings | None = None
    ) -> None:
        self.registry = registry
        self._host = _HOSTS.get(registry, registry)
        self._dialer = dialer
        self._login = login
        self._settings = settings or Settings()
        self._insecure = registry in self._settings.insecure or is_loopback(registry)
        self._schemes = ["https", "http"] if self._insecure else ["https"]
        self._clients: dict[tuple[str, str], HttpClient] = {}
        self._authorizations: dict[str, str] = {}

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for client in self._clients.values():
            await client.aclose()

    async def digest(self, repository: str, target: str) -> str | None:
        """The digest that a tag points to now; None if the registry does not say. Raises RegistryError."""
        async with await self._ask("HEAD", repository, f"manifests/{target}", [_ACCEPT]) as answer:
            return answer.headers.get("docker-content-digest")

    async def manifest(self, repository: str, target: str) -> ManifestAnswer:
        """A manifest or index by tag or digest, verified. Raises RegistryError."""
        async with await self._ask("GET", repository, f"manifests/{target}", [_ACCEPT]) as answer:
            data = await self._read(answer, _MANIFEST_BYTES_MAX)
        found = sha256(data)
        expected = target if target.startswith("sha256:") else answer.headers.get("docker-content-digest", found)
        if expected.startswith("sha256:") and expected != found:
            raise RegistryUnavailable(f"{self.registry} sent {found} when asked for {expected}")
        return ManifestAnswer(found, answer.headers.get("content-type", ""), data)

    async def blob(self, repository: str, blob: Descriptor, writer: BlobWriter) -> None:
        """Write a blob; continues where it stopped when the connection breaks. The caller verifies the digest.

        Raises RegistryError, OSError from writing.
        """
        failures = 0
        while True:
            before = writer.size_bytes
            try:
                return await self._blob_once(repository, blob, writer)
            except RegistryUnavailable:
                failures = 1 if writer.size_bytes > before else failures + 1
                if failures >= _ATTEMPTS:
                    raise
                await asyncio.sleep(0.1 * 2**failures)

    async def _blob_once(self, repository: str, blob: Descriptor, writer: BlobWriter) -> None:
        headers = [("Range", f"bytes={writer.size_bytes}-")] if writer.size_bytes else []
        async with await self._ask("GET", repository, f"blobs/{blob.digest}", headers) as answer:
            if not (answer.status == 206 and _range_start(answer) == writer.size_bytes):
                writer.restart()
            async for piece in _batched(self._pieces(answer)):
                if writer.size_bytes + len(piece) > blob.size:
                    raise RegistryError(f"blob {blob.digest} is larger than the {blob.size} bytes announced")
                await asyncio.to_thread(writer.write, piece)
        if writer.size_bytes < blob.size:
            raise RegistryUnavailable(f"blob {blob.digest}: {writer.size_bytes} of {blob.size} bytes arrived")

    async def _ask(self, method: str, repository: str, what: str, headers: Iterable[tuple[str, str]]) -> Response:
        """An answer with status 2xx, after login and redirects."""
        path = f"/v2/{urllib.parse.quote(repository)}/{urllib.parse.quote(what, safe='/:')}"
        answer = await self._send(method, path, [*headers, *self._authorization(repository)])
        if answer.status == 401:
            await answer.aclose()
            await self._authorize(repository, answer.headers.get("www-authenticate", ""))
            answer = await self._send(method, path, [*headers, *self._authorization(repository)])
        url = f"{self._schemes[0]}://{self._host}{path}"
        for _ in range(_REDIRECTS_MAX):
            if answer.status not in _REDIRECTS:
                break
            await answer.aclose()
            url = urllib.parse.urljoin(url, answer.headers.get("location", ""))
            answer = await self._send_elsewhere(method, url, list(headers))
        if answer.status // 100 == 2:
            return answer
        await answer.aclose()
        raise refusal(method, url, answer.status)

    async def _send(self, method: str, path: str, headers: list[tuple[str, str]]) -> Response:
        """Send to the registry, settling on its scheme the first time."""
        while True:
            scheme = self._schemes[0]
            try:
                return await self._request(method, f"{scheme}://{self._host}", path, headers)
            except HttpError as error:
                if len(self._schemes) == 1:
                    raise self._failure(method, f"{scheme}://{self._host}{path}", error) from error
                self._schemes = self._schemes[1:]

    async def _send_elsewhere(self, method: str, url: str, headers: list[tuple[str, str]]) -> Response:
        """Send where a redirect points, without the registry's credentials."""
        parts = urllib.parse.urlsplit(url)
        if parts.scheme not in ("https", self._schemes[0]) or not parts.hostname:
            raise RegistryError(f"{self.registry} redirects to {parts.scheme or 'nowhere'}, which is refused")
        target = parts.path or "/"
        target += f"?{parts.query}" if parts.query else ""
        try:
            return await self._request(method, f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", target, headers)
        except (HttpError, ValueError) as error:
            raise self._failure(method, f"{parts.scheme}://{parts.hostname}", error) from error

    async def _request(
        self, method: str, base: str, target: str, headers: list[tuple[str, str]], body: bytes | None = None
    ) -> Response:
        scheme, _, place = base.partition("://")
        key = (scheme, place)
        if key not in self._clients:
            parts = urllib.parse.urlsplit(base)
            context = self._tls(place) if scheme == "https" else None
            port = parts.port or (443 if scheme == "https" else 80)
            connector = dialing_connector(self._dialer, parts.hostname or "", port, context)
            self._clients[key] = HttpClient(connector, host_header=place, default_headers=[("User-Agent", "fairway")])
        seconds = self._settings.answer_seconds
        if scheme == "https" and len(self._schemes) > 1:
            seconds = min(seconds, _TLS_TRIAL_SECONDS)  # a plain server may wait for more of what it does not grasp
        return await self._clients[key].request(method, target, headers=headers, body=body, timeout_seconds=seconds)

    def _tls(self, place: str) -> ssl.SSLContext:
        authority = self._settings.authorities / place / "ca.crt" if self._settings.authorities else None
        if authority is not None and authority.is_file():
            return ssl.create_default_context(cafile=str(authority))
        context = ssl.create_default_context()
        if self._insecure and place == self._host:
            context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        return context

    def _authorization(self, repository: str) -> list[tuple[str, str]]:
        known = self._authorizations.get(repository)
        return [("Authorization", known)] if known else []

    async def _authorize(self, repository: str, header: str) -> None:
        """Answer a challenge. Raises AccessDenied, RegistryUnavailable."""
        had_one = self._authorizations.pop(repository, None)
        challenges = {challenge.scheme: challenge for challenge in parse_challenges(header)}
        if self._login and self._login.registry_token:
            self._authorizations[repository] = f"Bearer {self._login.registry_token}"
        elif "bearer" in challenges:
            self._authorizations[repository] = f"Bearer {await self._token(challenges['bearer'], repository)}"
        elif "basic" in challenges and self._login and not had_one:
            self._authorizations[repository] = self._login.basic()
        else:
            raise AccessDenied(denied("authorization failed: no basic auth credentials"))

    async def _token(self, challenge: Challenge, repository: str) -> str:
        realm = challenge.parameters.get("realm", "")
        parts = urllib.parse.urlsplit(realm)
        if parts.scheme != "https" and not (parts.scheme == "http" and self._insecure):
            raise AccessDenied(f"{self.registry} wants the login sent to {realm!r}, which is not encrypted")
        query = token_query(challenge, repository)
        base, path = f"{parts.scheme}://{parts.netloc}", parts.path or "/"
        try:
            answer = await self._request_token(base, path, parts.query, query)
            async with answer:
                data = await self._read(answer, _TOKEN_BYTES_MAX)
        except (HttpError, ValueError) as error:
            raise self._failure("GET", base + path, error) from error
        if answer.status in (401, 403):
            raise AccessDenied(denied("authorization failed: the registry refuses this login"))
        if answer.status != 200:
            raise refusal("GET", base + path, answer.status)
        return _token_of(data, base + path)

    async def _request_token(self, base: str, path: str, fixed_query: str, query: str) -> Response:
        login = self._login
        if login and login.identity_token:
            form = f"grant_type=refresh_token&client_id=fairway&{query}&" + urllib.parse.urlencode(
                {"refresh_token": login.identity_token}
            )
            headers = [("Content-Type", "application/x-www-form-urlencoded")]
            return await self._request("POST", base, path, headers, form.encode())
        headers = [("Authorization", login.basic())] if login else []
        return await self._request("GET", base, f"{path}?{'&'.join(filter(None, (fixed_query, query)))}", headers)

    async def _read(self, answer: Response, limit_bytes: int) -> bytes:
        data = b""
        async for piece in self._pieces(answer):
            data += piece
            if len(data) > limit_bytes:
                raise RegistryError(f"{self.registry} sent more than {limit_bytes} bytes where a document was expected")
        return data

    async def _pieces(self, answer: Response) -> AsyncIterator[bytes]:
        pieces = answer.iter_bytes()
        while True:
            try:
                async with asyncio.timeout(self._settings.stall_seconds):
                    piece = await anext(pieces, None)
            except TimeoutError:
                raise RegistryUnavailable(f"{self.registry} stopped sending") from None
            except HttpError as error:
                raise RegistryUnavailable(f"{self.registry}: {error}") from error
            if piece is None:
                return
            yield piece

    def _failure(self, method: str, url: str, error: Exception) -> RegistryUnavailable:
        return RegistryUnavailable(f'failed to do request: {method.capitalize()} "{url}": {reason(error, url)}')


def is_loopback(registry: str) -> bool:
    """Whether a registry's name can only mean this machine."""
    host = urllib.parse.urlsplit(f"//{registry}").hostname or ""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _token_of(data: bytes, place: str) -> str:
    try:
        answer = msgspec.json.decode(data, type=_Token)
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise RegistryError(f"{place} gave no usable token") from None
    token = answer.token or answer.access_token
    if not token:
        raise RegistryError(f"{place} gave no token")
    return token


def _range_start(answer: Response) -> int:
    unit, _, rest = answer.headers.get("content-range", "").partition(" ")
    start = rest.partition("-")[0]
    return int(start) if unit == "bytes" and start.isdigit() else -1


async def _batched(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Fewer, larger pieces: each costs a trip to a thread."""
    waiting: list[bytes] = []
    size_bytes = 0
    try:
        async for piece in pieces:
            waiting.append(piece)
            size_bytes += len(piece)
            if size_bytes >= _WRITE_BYTES:
                yield b"".join(waiting)
                waiting, size_bytes = [], 0
    except RegistryUnavailable:
        if waiting:
            yield b"".join(waiting)
        raise
    if waiting:
        yield b"".join(waiting)
