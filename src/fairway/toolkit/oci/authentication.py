"""Registry logins: challenges, tokens and Docker's credential file format."""

import base64
import binascii
import re
import urllib.parse
from collections.abc import Iterator, Mapping

import msgspec

from fairway.toolkit.oci.reference import DEFAULT_REGISTRY, Reference

_SCHEME = re.compile(r"\s*,?\s*([A-Za-z][A-Za-z0-9-]*)\s+(?=[A-Za-z][A-Za-z0-9_-]*\s*=)")
_PARAMETER = re.compile(r'\s*,?\s*([A-Za-z][A-Za-z0-9_-]*)\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,"]+))')
_HUB_NAMES = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})


class Login(msgspec.Struct, frozen=True):
    """What is known about one account. Never written to a log: its text form hides the secrets."""

    username: str = ""
    password: str = ""
    identity_token: str = ""
    registry_token: str = ""

    def __repr__(self) -> str:
        return f"Login(username={self.username!r}, ...)"

    def basic(self) -> str:
        """The value of an Authorization header."""
        return "Basic " + base64.b64encode(f"{self.username}:{self.password}".encode()).decode()


class Credential(msgspec.Struct, frozen=True):
    """A login and the registry (or registry/path) that it is for."""

    scope: str
    login: Login


class Challenge(msgspec.Struct, frozen=True):
    """One way in that a registry offers."""

    scheme: str
    parameters: Mapping[str, str] = {}


class _DockerAuth(msgspec.Struct, frozen=True):
    username: str = ""
    password: str = ""
    auth: str = ""
    identitytoken: str = ""
    registrytoken: str = ""


class _DockerConfig(msgspec.Struct, frozen=True):
    auths: Mapping[str, _DockerAuth] = {}


class BadCredentials(ValueError):
    """A credential file that cannot be read; the message names no secret."""


def parse_docker_config(data: bytes) -> tuple[Credential, ...]:
    """Credentials of a `config.json` ({"auths": {...}}) or of the older form without `auths`. Raises BadCredentials."""
    try:
        fields = msgspec.json.decode(data, type=dict[str, msgspec.Raw])
        if "auths" in fields:
            auths = msgspec.json.decode(data, type=_DockerConfig).auths
        else:
            auths = msgspec.json.decode(data, type=dict[str, _DockerAuth])
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadCredentials('the registry credentials are not JSON of the form {"auths": {...}}') from error
    return tuple(Credential(_scope(key), _login(key, auth)) for key, auth in auths.items())


def logins_for(reference: Reference, credentials: tuple[Credential, ...]) -> Iterator[Login]:
    """The logins that fit a reference, the longest path first."""
    fitting = [credential for credential in credentials if _fits(credential.scope, reference)]
    for credential in sorted(fitting, key=lambda one: -len(one.scope)):
        yield credential.login


def parse_challenges(header: str) -> tuple[Challenge, ...]:
    """The `WWW-Authenticate` header (RFC 9110, section 11.6.1), schemes in lower case."""
    found: list[Challenge] = []
    position = 0
    while scheme := _SCHEME.match(header, position):
        position = scheme.end()
        parameters: dict[str, str] = {}
        while parameter := _PARAMETER.match(header, position):
            quoted, plain = parameter[2], parameter[3]
            parameters[parameter[1].lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
            position = parameter.end()
        found.append(Challenge(scheme[1].lower(), parameters))
    return tuple(found)


def token_query(challenge: Challenge, repository: str) -> str:
    """The query of a token request for reading one repository."""
    pairs = [("scope", challenge.parameters.get("scope") or f"repository:{repository}:pull")]
    if service := challenge.parameters.get("service"):
        pairs.insert(0, ("service", service))
    return urllib.parse.urlencode(pairs)


def _scope(key: str) -> str:
    """`https://index.docker.io/v1/` and friends as registry/path."""
    bare = key.partition("://")[2] or key
    host, _, path = bare.partition("/")
    if path.rstrip("/") in ("v1", "v2"):
        path = ""
    host = DEFAULT_REGISTRY if host in _HUB_NAMES else host
    return f"{host}/{path}".rstrip("/")


def _login(key: str, auth: _DockerAuth) -> Login:
    username, password = auth.username, auth.password
    if auth.auth:
        try:
            username, _, password = base64.b64decode(auth.auth, validate=False).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise BadCredentials(f"the `auth` field for {key!r} is not base64 of user:password") from error
    return Login(username, password.rstrip("\0"), auth.identitytoken, auth.registrytoken)


def _fits(scope: str, reference: Reference) -> bool:
    host, _, path = scope.partition("/")
    if not _host_fits(host, reference.registry):
        return False
    return not path or reference.repository == path or reference.repository.startswith(f"{path}/")


def _host_fits(pattern: str, host: str) -> bool:
    """Equal, or label by label with `*` (as in `*.example.com`)."""
    if "*" not in pattern:
        return pattern == host
    wanted, labels = pattern.split("."), host.split(".")
    return len(wanted) == len(labels) and all(map(_label_fits, wanted, labels))


def _label_fits(pattern: str, label: str) -> bool:
    return re.fullmatch(re.escape(pattern).replace(r"\*", ".*"), label) is not None
