"""What the annotations of one Ingress ask for, typed; the defaults are those of an Ingress without any."""

import msgspec

from fairway.edge.ir import Condition
from fairway.edge.policy import Directive, Text
from fairway.kube.api.meta import ObjectKey

CORS_METHODS = "GET, PUT, POST, DELETE, PATCH, OPTIONS"
CORS_HEADERS = (
    "DNT,Keep-Alive,User-Agent,X-Requested-With,If-Modified-Since,Cache-Control,Content-Type,Range,Authorization"
)
_DEFAULT_CACHE = ((200, 300), (202, 300), (401, 300))


class Routing(msgspec.Struct, frozen=True):
    """Which requests, and where they go."""

    owner: ObjectKey = ObjectKey("", "")
    rewrite_target: str = ""
    use_regex: bool = False
    regex_scope: str = "host"
    match: tuple[Condition, ...] = ()
    server_alias: tuple[str, ...] = ()
    ssl_redirect: bool = True
    force_ssl_redirect: bool = False
    from_to_www_redirect: bool = False
    app_root: str = ""
    permanent_redirect: str = ""
    permanent_redirect_code: int = 301
    temporal_redirect: str = ""
    temporal_redirect_code: int = 302
    canary: bool = False
    canary_weight: int = 0
    canary_weight_total: int = 100
    canary_by_header: str = ""
    canary_by_header_value: str = ""
    canary_by_header_pattern: str = ""
    canary_by_cookie: str = ""
    affinity_canary_behavior: str = "sticky"
    maintenance: bool = False
    ssl_passthrough: bool = False
    ssl_ciphers: str = ""
    service_upstream: bool = False
    default_backend: str = ""

    @property
    def redirect(self) -> tuple[int, str] | None:
        """Where every path of the Ingress goes; the temporal one wins, as in ingress-nginx."""
        if self.temporal_redirect:
            return self.temporal_redirect_code, self.temporal_redirect
        if self.permanent_redirect:
            return self.permanent_redirect_code, self.permanent_redirect
        return None


class Access(Routing, frozen=True):
    """Who may come in, and how often."""

    allowlist_source_range: tuple[str, ...] = ()
    denylist_source_range: tuple[str, ...] = ()
    satisfy: str = "all"
    auth_type: str = ""
    auth_secret: str = ""
    auth_secret_type: str = "auth-file"
    auth_realm: str = "Authentication Required"
    auth_url: Text = ()
    auth_method: str = ""
    auth_signin: Text = ()
    auth_signin_redirect_param: str = "rd"
    auth_response_headers: tuple[str, ...] = ()
    auth_request_redirect: Text = ()
    auth_always_set_cookie: bool = False
    auth_cache_key: Text = ()
    auth_cache_duration: tuple[tuple[int, int], ...] = _DEFAULT_CACHE
    auth_proxy_set_headers: str = ""
    auth_snippet: tuple[tuple[str, Text], ...] = ()
    auth_tls_secret: str = ""
    auth_tls_verify_client: str = "on"
    auth_tls_match_cn: str = ""
    auth_tls_error_page: str = ""
    auth_tls_pass_certificate_to_upstream: bool = False
    limit_rps: int = 0
    limit_rpm: int = 0
    limit_connections: int = 0
    limit_burst_multiplier: int = 5
    limit_allowlist: tuple[str, ...] = ()
    limit_rate: int = 0
    enable_cors: bool = False
    cors_allow_origin: tuple[str, ...] = ("*",)
    cors_allow_methods: str = CORS_METHODS
    cors_allow_headers: str = CORS_HEADERS
    cors_expose_headers: str = ""
    cors_allow_credentials: bool = True
    cors_max_age: int = 1728000
    enable_global_auth: bool = True
    closed: bool = False


class Settings(Access, frozen=True):
    """All of it: also how servers are chosen and spoken to, and what becomes of their answers."""

    backend_protocol: str = "HTTP"
    proxy_connect_timeout: int | None = None
    proxy_read_timeout: int | None = None
    proxy_send_timeout: int | None = None
    proxy_body_size: int | None = None
    upstream_vhost: str = ""
    upstream_hash_by: Text = ()
    load_balance: str = ""
    x_forwarded_prefix: str = ""
    custom_headers: str = ""
    configuration_snippet: tuple[Directive, ...] = ()
    server_snippet: tuple[Directive, ...] = ()
    proxy_next_upstream: tuple[str, ...] | None = None
    proxy_next_upstream_tries: int | None = None
    proxy_ssl_secret: str = ""
    proxy_ssl_verify: str = "off"
    proxy_ssl_name: str = ""
    proxy_ssl_server_name: str = "off"
    proxy_ssl_ciphers: str = ""
    proxy_ssl_protocols: tuple[str, str] | None = None
    proxy_cookie_domain: tuple[str, str] | None = None
    proxy_cookie_path: tuple[str, str] | None = None
    proxy_redirect_from: str = ""
    proxy_redirect_to: str = ""
    mirror_target: Text = ()
    mirror_host: Text = ()
    mirror_request_body: str = "on"
    custom_http_errors: tuple[int, ...] = ()
    disable_proxy_intercept_errors: bool = False
    fastcgi_index: str = ""
    fastcgi_params_configmap: str = ""
    enable_access_log: bool = True
    cache: int = 0
    affinity: str = ""
    session_cookie_name: str = "INGRESSCOOKIE"
    session_cookie_max_age: int | None = None
    session_cookie_expires: int | None = None
    session_cookie_path: str = ""
    session_cookie_domain: str = ""
    session_cookie_samesite: str = ""
    session_cookie_conditional_samesite_none: bool = False
    session_cookie_secure: bool = False
    session_cookie_change_on_failure: bool = False
