"""Write to an image registry (OCI distribution spec 1.1): blobs, in pieces when they are large, and manifests."""

import asyncio
import urllib.parse
from typing import BinaryIO

from fairway.toolkit.http_client import HttpError, Response
from fairway.toolkit.oci.distribution import RegistryClient
from fairway.toolkit.oci.registry_errors import AccessDenied, NotFound, RegistryError, refusal

_PIECE_BYTES = 8 << 20
_BYTES = ("Content-Type", "application/octet-stream")


class PushClient(RegistryClient):
    """One registry, one login, for as long as one push takes."""

    async def has_blob(self, repository: str, digest: str) -> bool:
        """Whether a blob is there already. Raises RegistryError."""
        try:
            answer = await self._ask("HEAD", repository, f"blobs/{digest}", [])
        except (NotFound, AccessDenied):
            return False  # some registries refuse to say before the first push
        await answer.aclose()
        return True

    async def put_blob(self, repository: str, digest: str, data: BinaryIO) -> None:
        """Upload a blob in pieces of a few megabytes. Raises RegistryError, OSError from reading."""
        location = await self._write(
            "POST", repository, f"/v2/{urllib.parse.quote(repository)}/blobs/uploads/", [], b""
        )
        start = 0
        piece = await asyncio.to_thread(data.read, _PIECE_BYTES)
        while following := await asyncio.to_thread(data.read, _PIECE_BYTES):
            span = ("Content-Range", f"{start}-{start + len(piece) - 1}")
            location = await self._write("PATCH", repository, location, [_BYTES, span], piece)
            start, piece = start + len(piece), following
        joint = "&" if "?" in location else "?"
        await self._write("PUT", repository, f"{location}{joint}digest={urllib.parse.quote(digest)}", [_BYTES], piece)

    async def put_manifest(self, repository: str, target: str, media_type: str, data: bytes) -> None:
        """Give a manifest, whose blobs are there, its tag. Raises RegistryError."""
        path = f"/v2/{urllib.parse.quote(repository)}/manifests/{urllib.parse.quote(target, safe=':')}"
        await self._write("PUT", repository, path, [("Content-Type", media_type)], data)

    async def _write(
        self, method: str, repository: str, target: str, headers: list[tuple[str, str]], body: bytes
    ) -> str:
        """Send, logging in when asked to; returns the target that the answer's Location names on this registry."""
        answer = await self._send_body(method, target, [*headers, *self._authorization(repository)], body)
        if answer.status == 401:
            await answer.aclose()
            await self._authorize(repository, answer.headers.get("www-authenticate", ""))
            answer = await self._send_body(method, target, [*headers, *self._authorization(repository)], body)
        await answer.aclose()
        if answer.status in (401, 403):
            raise AccessDenied(f"{self.registry}/{repository}: push refused: the login may not write there")
        if answer.status // 100 != 2:
            raise refusal(method, f"{self.registry}{target}", answer.status)
        return self._here(answer.headers.get("location", target))

    async def _send_body(self, method: str, target: str, headers: list[tuple[str, str]], body: bytes) -> Response:
        """Send with a body, settling on the registry's scheme the first time."""
        while True:
            base = f"{self._schemes[0]}://{self._host}"
            try:
                return await self._request(method, base, target, headers, body)
            except HttpError as error:
                if len(self._schemes) == 1:
                    raise self._failure(method, base + target, error) from error
                self._schemes = self._schemes[1:]

    def _here(self, location: str) -> str:
        """A Location as a target; uploads elsewhere would need the credentials there."""
        parts = urllib.parse.urlsplit(location)
        if parts.netloc and parts.netloc != self._host and parts.hostname != self._host:
            raise RegistryError(f"{self.registry} sends uploads to {parts.netloc}, which is refused")
        return parts.path + (f"?{parts.query}" if parts.query else "")
