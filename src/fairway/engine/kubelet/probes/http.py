"""HTTP checks: 200 to 399 is healthy, redirects on the same host are followed, certificates are not verified."""

import ssl
from urllib.parse import quote, urljoin, urlsplit

import msgspec

from fairway.engine.kubelet.probes.result import Result, reason_of
from fairway.toolkit.http_client import HttpClient, HttpError, Timeout, tcp_connector

_REDIRECTS_MAX = 10
_SAFE = "/?&=%:@!$'()*+,;~-._[]#"


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """Where to ask and what to send."""

    scheme: str
    host: str
    port: int
    path: str
    headers: tuple[tuple[str, str], ...] = ()

    @property
    def url(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme.lower()}://{host}:{self.port}{quote(_absolute(self.path), safe=_SAFE)}"


def _absolute(path: str) -> str:
    return path if path.startswith("/") else f"/{path}"


def _unverified() -> ssl.SSLContext:
    """A kubelet does not verify the certificates of probes: it asks whether the program is alive, not who it is."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def check(target: Target, *, version: str, timeout_seconds: float) -> Result:
    """Ask once, following redirects that stay on the host.  Source: upstream `pkg/probe/http`."""
    url = target.url
    for _ in range(_REDIRECTS_MAX):
        try:
            status, location = await _get(url, target, version, timeout_seconds)
        except Timeout:
            reason = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
            return Result(False, f'Get "{url}": {reason}')
        except (HttpError, ValueError) as error:
            return Result(False, f'Get "{url}": {_reason(error, target)}')
        if not (300 <= status < 400 and location):
            return _judge(status)
        following = urljoin(url, location)
        if urlsplit(following).hostname != urlsplit(url).hostname:
            return Result(True, f"Probe terminated redirects, Response body: {location}", warning=True)
        url = following
    return Result(False, f'Get "{url}": stopped after {_REDIRECTS_MAX} redirects')


def _judge(status: int) -> Result:
    if 200 <= status < 400:
        return Result(True)
    return Result(False, f"HTTP probe failed with statuscode: {status}")


def _reason(error: Exception, target: Target) -> str:
    cause = error.__cause__
    if isinstance(cause, OSError):
        return f"dial tcp {target.host}:{target.port}: {reason_of(cause)}"
    return str(error)


async def _get(url: str, target: Target, version: str, timeout_seconds: float) -> tuple[int, str]:
    parts = urlsplit(url)
    tls = _unverified() if parts.scheme == "https" else None
    port = parts.port or (443 if tls else 80)
    given = {name.lower(): value for name, value in target.headers}
    host = given.pop("host", parts.netloc)
    defaults = {"user-agent": f"kube-probe/{version}", "accept": "*/*"}
    names = {name.lower(): name for name, _ in target.headers}
    headers = [(names.get(key, key.title()), value) for key, value in {**defaults, **given}.items()]
    request = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    connector = tcp_connector(parts.hostname or "", port, tls)
    async with HttpClient(connector, host_header=host, max_connections=1) as client:
        response = await client.request(
            "GET", request, headers=[*headers, ("Connection", "close")], timeout_seconds=timeout_seconds
        )
        await response.aclose()
        return response.status, response.headers.get("location", "")
