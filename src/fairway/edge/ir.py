"""What the edge should do, in words that belong neither to Kubernetes nor to HAProxy.

Every front end (Ingress today) fills these values; every back end (HAProxy today) reads them. All are frozen, and the
same input gives the same values in the same order.
"""

import enum

import msgspec

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


class Condition(msgspec.Struct, frozen=True, omit_defaults=True):
    """A further test that a request must pass; nothing fills it yet except canaries."""

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
        """What two routes share when they would answer the same requests: (exact, text)."""
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
    cookie: str = ""


class Forward(msgspec.Struct, frozen=True, omit_defaults=True, tag="forward"):
    """Send the request to a backend. `rewrite` replaces the path and may hold $1 to $9 of the route's expression."""

    backend: str
    rewrite: str = ""
    canary: Canary | None = None


class Redirect(msgspec.Struct, frozen=True, omit_defaults=True, tag="redirect"):
    """Answer with another address."""

    code: int
    location: str


class NotFound(msgspec.Struct, frozen=True, omit_defaults=True, tag="not-found"):
    """Answer that there is nothing here."""


Action = Forward | Redirect | NotFound


class Route(msgspec.Struct, frozen=True, omit_defaults=True):
    """Requests and what happens to them. `owner` is the object that asked for it."""

    match: Match
    action: Action
    https_only: bool = False
    owner: ObjectKey = ObjectKey("", "")


class Protocol(enum.Enum):
    """How the servers of a backend are spoken to."""

    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"
    GRPCS = "grpcs"


class Cors(msgspec.Struct, frozen=True, omit_defaults=True):
    """Cross-origin rules; `origins` are `*`, exact origins, or `scheme://*.suffix`."""

    origins: tuple[str, ...]
    methods: str
    headers: str
    expose: str
    credentials: bool
    max_age_seconds: int


class Affinity(msgspec.Struct, frozen=True, omit_defaults=True):
    """A cookie that keeps a client on one server."""

    cookie: str
    max_age_seconds: int | None = None
    path: str = ""
    same_site: str = ""
    secure: bool = False


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a backend treats its requests. The default profile needs nothing that a spare backend has not."""

    protocol: Protocol = Protocol.HTTP
    connect_timeout_seconds: int | None = None
    read_timeout_seconds: int | None = None
    body_bytes_max: int | None = None
    allowed_sources: tuple[str, ...] = ()
    denied_sources: tuple[str, ...] = ()
    upstream_host: str = ""
    cors: Cors | None = None
    affinity: Affinity | None = None


PLAIN = Profile()


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

    def __repr__(self) -> str:
        return f"Certificate({self.name}, hosts={self.hosts})"  # never the key: reprs end up in logs


class Edge(msgspec.Struct, frozen=True, omit_defaults=True):
    """All of it."""

    routes: tuple[Route, ...] = ()
    backends: tuple[Backend, ...] = ()
    certificates: tuple[Certificate, ...] = ()


class Problem(msgspec.Struct, frozen=True, omit_defaults=True):
    """A user's mistake. With `refused` the object could not be translated as it stands."""

    ingress: ObjectKey
    reason: str
    message: str
    refused: bool = False
