"""What the edge should do, in words that belong neither to Kubernetes nor to HAProxy.

Every front end (Ingress today) fills these values; every back end (HAProxy today) reads them. All are frozen, and the
same input gives the same values in the same order.
"""

import enum
from collections.abc import Sequence

import msgspec

from fairway.edge.policy import PLAIN as PLAIN
from fairway.edge.policy import Affinity as Affinity
from fairway.edge.policy import Cors as Cors
from fairway.edge.policy import Profile as Profile
from fairway.edge.policy import Protocol as Protocol
from fairway.kube.api.meta import ObjectKey

ANY_HOST = "*"
"""The host of routes that apply when no other host fits."""


class PathKind(enum.Enum):
    """How a path is compared."""

    EXACT = "exact"
    PREFIX = "prefix"  # element-wise: /foo matches /foo and /foo/bar, never /foobar
    STRING = "string"  # character-wise: /foo matches /foobar too (ingress-nginx' ImplementationSpecific)
    REGEX = "regex"  # case-insensitive and anchored at the start, as a `location ~*` of ingress-nginx


class Source(enum.Enum):
    """What else of a request a route can look at."""

    HEADER = "header"
    METHOD = "method"
    QUERY = "query"
    COOKIE = "cookie"
    LANGUAGE = "language"  # the one that the client names first


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A further test that a request must pass. `name` is empty for method and language."""

    source: Source
    name: str
    value: str
    regex: bool = False


class Match(msgspec.Struct, frozen=True, omit_defaults=True):
    """Which requests a route is for. `host` is exact, `*.suffix` (one label) or `ANY_HOST`."""

    host: str
    path: str
    kind: PathKind
    conditions: tuple[Condition, ...] = ()

    @property
    def key(self) -> tuple[bool, str]:
        """What routes share that stand at the same place, conditions apart: (exact, text)."""
        if self.kind is PathKind.PREFIX:
            return False, f"{self.host}{self.path.rstrip('/')}/"
        return self.kind is PathKind.EXACT, self.host + self.path


class Canary(msgspec.Struct, frozen=True, omit_defaults=True):
    """A second backend for some of the requests; the header decides first, then the cookie, then the weight."""

    backend: str
    weight: int = 0
    weight_total: int = 100
    header: str = ""
    header_value: str = ""
    header_pattern: str = ""
    cookie: str = ""
    sticky: tuple[str, str] = ("", "")  # the affinity cookies of the canary and of the main backend


class Forward(msgspec.Struct, frozen=True, omit_defaults=True, tag="forward"):
    """Send the request to a backend. `rewrite` replaces the path and may hold $1 to $9 of the route's expression."""

    backend: str
    rewrite: str = ""
    canaries: tuple[Canary, ...] = ()


class Redirect(msgspec.Struct, frozen=True, omit_defaults=True, tag="redirect"):
    """Answer with another address; `keep` puts the path and query that the client sent behind it.

    `location` may hold $1 to $9 of the route's expression.
    """

    code: int
    location: str
    keep: bool = False


class NotFound(msgspec.Struct, frozen=True, omit_defaults=True, tag="not-found"):
    """Answer that there is nothing here."""


class Maintenance(msgspec.Struct, frozen=True, omit_defaults=True, tag="maintenance"):
    """Answer that the site is being worked on."""


Action = Forward | Redirect | NotFound | Maintenance


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests and what happens to them. `owner` is the object that asked for it."""

    match: Match
    action: Action
    https_only: bool = False
    owner: ObjectKey = ObjectKey("", "")


class Server(msgspec.Struct, frozen=True, omit_defaults=True, order=True):
    """An address that answers."""

    address: str
    port: int


class Backend(msgspec.Struct, frozen=True, omit_defaults=True):
    """Servers that are interchangeable. `name` is unique and stable: namespace/service:port and the profile."""

    name: str
    servers: tuple[Server, ...] = ()
    profile: Profile = PLAIN


class Certificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """A chain with its private key (one PEM text) for some hosts."""

    name: str
    pem: str
    hosts: tuple[str, ...]
    client_authority: str = ""  # PEM: who signs the certificates that clients may show
    any_client: bool = False  # do not check who signed
    ciphers: str = ""

    def __repr__(self) -> str:
        return f"Certificate({self.name}, hosts={self.hosts})"  # never the key: reprs end up in logs


class Passthrough(msgspec.Struct, frozen=True, omit_defaults=True):
    """A host whose TLS is not ended here."""

    host: str
    backend: str


class Listener(msgspec.Struct, frozen=True, omit_defaults=True):
    """A TCP port that leads to a backend."""

    port: int
    backend: str
    accept_proxy: bool = False


class Entrance(msgspec.Struct, frozen=True, omit_defaults=True):
    """What holds for every request; the defaults are Fairway's own."""

    forwarded_from: tuple[str, ...] = ()  # networks whose X-Forwarded-* are believed
    forwarded_header: str = "X-Forwarded-For"
    proxy_protocol: bool = False
    append_forwarded_for: bool = False
    redirect_code: int = 308
    hsts: str = ""
    gzip_types: tuple[str, ...] = ()
    response_headers: tuple[tuple[str, str], ...] = ()
    hide_headers: tuple[str, ...] = ()
    limit_request_code: int = 503
    limit_connection_code: int = 503
    connect_timeout_seconds: int | None = None
    read_timeout_seconds: int | None = None


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it."""

    routes: Sequence[Route] = ()
    backends: tuple[Backend, ...] = ()
    certificates: tuple[Certificate, ...] = ()
    passthroughs: tuple[Passthrough, ...] = ()
    listeners: tuple[Listener, ...] = ()
    entrance: Entrance = Entrance()


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's mistake. With `refused` the object could not be translated as it stands."""

    ingress: ObjectKey
    reason: str
    message: str
    refused: bool = False
