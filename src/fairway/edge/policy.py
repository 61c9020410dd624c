"""How a backend treats its requests: part of the edge's own words, see `ir.py`."""

import enum

import msgspec

from fairway.kube.api.meta import ObjectKey


class Protocol(enum.Enum):
    """How the servers of a backend are spoken to."""

    HTTP = "http"
    HTTPS = "https"
    GRPC = "grpc"
    GRPCS = "grpcs"
    FCGI = "fcgi"
    TCP = "tcp"  # bytes as they come: passed-through TLS and TCP services


class Variable(msgspec.Struct, frozen=True, omit_defaults=True):
    """Something of the request, by the name that nginx has for it: `host`, `request_uri`, `http_x_env`, …"""

    name: str


Text = tuple[str | Variable, ...]
"""Literal pieces and variables, one after the other."""


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
    expires_seconds: int | None = None
    path: str = ""
    domain: str = ""
    same_site: str = ""
    conditional_same_site_none: bool = False
    secure: bool = False
    change_on_failure: bool = False


class Limits(msgspec.Struct, frozen=True, omit_defaults=True):
    """How much one client address may do; counted together for all backends of a `zone`."""

    zone: str
    per_second: int = 0
    per_minute: int = 0
    connections: int = 0
    burst: int = 5
    exempt: tuple[str, ...] = ()
    bytes_per_second: int = 0


class User(msgspec.Struct, frozen=True, omit_defaults=True):
    """A line of an htpasswd file. The hash is never shown: reprs end up in logs."""

    name: str
    password_hash: str

    def __repr__(self) -> str:
        return f"User({self.name})"


class BasicAuth(msgspec.Struct, frozen=True, omit_defaults=True):
    """Name and password. `users` is None where the Secret is missing or bad: then nobody gets in."""

    realm: str
    secret: ObjectKey
    per_user: bool = False  # the Secret has an entry for each user instead of one htpasswd file
    users: tuple[User, ...] | None = None


class ExternalAuth(msgspec.Struct, frozen=True, omit_defaults=True):
    """Another server decides. It is reached by `backend` of the edge, or by its address where that is empty."""

    url: Text
    backend: str = ""
    method: str = ""
    signin: Text = ()
    signin_parameter: str = "rd"
    response_headers: tuple[str, ...] = ()
    request_redirect: Text = ()
    always_set_cookie: bool = False
    cache_key: Text = ()
    cache_seconds: tuple[tuple[int, int], ...] = ()  # status → seconds
    headers: tuple[tuple[str, Text], ...] = ()  # of an auth-snippet
    headers_from: ObjectKey | None = None
    extra_headers: tuple[tuple[str, str], ...] = ()  # the content of `headers_from`


class ClientCertificate(msgspec.Struct, frozen=True, omit_defaults=True):
    """What is asked of a client's certificate; who signs them is with the certificate of the host."""

    optional: bool = False
    common_name: str = ""  # an expression
    error_page: str = ""
    pass_on: bool = False
    unverified: bool = False  # optional_no_ca: any certificate will do


class UpstreamTls(msgspec.Struct, frozen=True, omit_defaults=True):
    """How servers are spoken to over TLS. `authority` and `identity` are PEM texts from `secret`."""

    verify: bool = False
    name: str = ""
    send_name: bool = False
    ciphers: str = ""
    version_least: str = ""
    version_most: str = ""
    secret: ObjectKey | None = None
    authority: str = ""
    identity: str = ""
    broken: bool = False  # the Secret is missing or bad

    def __repr__(self) -> str:
        return f"UpstreamTls({self.name}, secret={self.secret})"


class Retries(msgspec.Struct, frozen=True, omit_defaults=True):
    """When another server is tried: names of `retry-on`; none means never."""

    conditions: tuple[str, ...] = ()
    tries: int = 3


class Mirror(msgspec.Struct, frozen=True, omit_defaults=True):
    """Where a copy of each request goes; answers are thrown away."""

    url: Text
    backend: str = ""
    host: Text = ()
    body: bool = True


class ErrorPages(msgspec.Struct, frozen=True, omit_defaults=True):
    """Statuses of the servers that a backend answers instead."""

    codes: tuple[int, ...]
    backend: str
    about: tuple[tuple[str, str], ...] = ()  # headers that say what failed


class Test(msgspec.Struct, frozen=True, omit_defaults=True):
    """A variable compared with text."""

    variable: Variable
    value: str = ""
    operator: str = "="  # = != ~ ~* !~ !~*, or "set"


class Directive(msgspec.Struct, frozen=True, omit_defaults=True):
    """One line of a snippet that is safe to obey.

    `verb`: request-header, response-header, add-header, hide-header, clear-header, return, rewrite, set.
    """

    verb: str
    name: str = ""
    text: Text = ()
    code: int = 0
    flag: str = ""
    when: tuple[Test, ...] = ()


class FastCgi(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a FastCGI server is told."""

    index: str = ""
    parameters_from: ObjectKey | None = None
    parameters: tuple[tuple[str, str], ...] = ()


class Profile(msgspec.Struct, frozen=True, omit_defaults=True):
    """How a backend treats its requests. The default profile needs nothing that a spare backend has not."""

    protocol: Protocol = Protocol.HTTP
    connect_timeout_seconds: int | None = None
    read_timeout_seconds: int | None = None
    body_bytes_max: int | None = None
    bounded: bool = False  # bodies are counted; how many bytes they may have is in a map
    allowed_sources: tuple[str, ...] = ()
    denied_sources: tuple[str, ...] = ()
    any_protection: bool = False  # satisfy: any
    upstream_host: str = ""
    request_prefix: str = ""
    response_headers_from: ObjectKey | None = None
    response_headers: tuple[tuple[str, str], ...] = ()
    cors: Cors | None = None
    affinity: Affinity | None = None
    limits: Limits | None = None
    basic_auth: BasicAuth | None = None
    external_auth: ExternalAuth | None = None
    client_certificate: ClientCertificate | None = None
    upstream_tls: UpstreamTls | None = None
    retries: Retries | None = None
    mirror: Mirror | None = None
    error_pages: ErrorPages | None = None
    snippet: tuple[Directive, ...] = ()
    hash_by: Text = ()
    balance: str = ""
    cookie_domain: tuple[str, str] | None = None
    cookie_path: tuple[str, str] | None = None
    location: tuple[str, str] | None = None
    fast_cgi: FastCgi | None = None
    guarded: bool = True  # asks the authentication server of all, where there is one
    external: tuple[str, int] | None = None  # a name outside the cluster, and its port
    cache_seconds: int = 0
    silent: bool = False
    inner: bool = False  # asked by other backends, not by routes; keeps its own name
    proxy_protocol: bool = False
    virtual_address: bool = False  # one server, the address of the Service
    fallback: tuple[str, str, int | str] | None = None  # the Service (namespace, name, port) when there is no server

    @property
    def helpers(self) -> tuple[str, ...]:
        """The other backends that this one asks."""
        found = (self.external_auth, self.mirror, self.error_pages)
        return tuple(one.backend for one in found if one is not None and one.backend)


PLAIN = Profile()
