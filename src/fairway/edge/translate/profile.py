"""Settings to how the backends of an Ingress treat their requests."""

import hashlib
import re

import msgspec

from fairway.edge.policy import (
    Affinity,
    BasicAuth,
    ClientCertificate,
    Cors,
    ErrorPages,
    ExternalAuth,
    FastCgi,
    Limits,
    Mirror,
    Profile,
    Protocol,
    Retries,
    Text,
    UpstreamTls,
)
from fairway.edge.translate.references import ServiceRef
from fairway.edge.translate.settings import Settings
from fairway.kube.api.meta import ObjectKey

NOBODY = ("0.0.0.0/32",)  # no client has this address
_SERVICE = re.compile(
    r"(https?)://([a-z0-9][-a-z0-9]{0,62})\.([a-z0-9][-a-z0-9]{0,62})\.svc(?:\.cluster\.local)?(?::(\d{1,5}))?(?=[/?]|$)"
)
_RETRY = {
    "error": ("conn-failure", "empty-response"),
    "timeout": ("response-timeout",),
    "invalid_header": ("junk-response",),
    "http_500": ("500",),
    "http_502": ("502",),
    "http_503": ("503",),
    "http_504": ("504",),
    "http_404": ("404",),
}


def profile(settings: Settings) -> Profile:
    """How the requests of an Ingress are treated; what Secrets and ConfigMaps hold is still missing, see `pool`."""
    timeouts = [one for one in (settings.proxy_read_timeout, settings.proxy_send_timeout) if one is not None]
    snippet = (*settings.server_snippet, *settings.configuration_snippet)
    untouched = settings.proxy_redirect_from in ("", "off", "default")
    return Profile(
        protocol=Protocol("http" if settings.backend_protocol == "AUTO_HTTP" else settings.backend_protocol.lower()),
        connect_timeout_seconds=settings.proxy_connect_timeout,
        read_timeout_seconds=max(timeouts, default=None),
        body_bytes_max=settings.proxy_body_size or None,
        allowed_sources=NOBODY if settings.closed else settings.allowlist_source_range,
        denied_sources=settings.denylist_source_range,
        any_protection=settings.satisfy == "any" and not settings.closed,
        upstream_host=settings.upstream_vhost,
        request_prefix=settings.x_forwarded_prefix,
        response_headers_from=_key(settings, settings.custom_headers),
        cors=_cors(settings) if settings.enable_cors else None,
        affinity=_affinity(settings) if settings.affinity else None,
        limits=_limits(settings),
        basic_auth=_basic_auth(settings),
        external_auth=external_auth(settings),
        client_certificate=_client_certificate(settings),
        upstream_tls=_upstream_tls(settings),
        retries=_retries(settings),
        mirror=_mirror(settings),
        error_pages=_error_pages(settings),
        snippet=snippet,
        hash_by=settings.upstream_hash_by,
        balance="ewma" if settings.load_balance == "ewma" else "",
        cookie_domain=settings.proxy_cookie_domain,
        cookie_path=settings.proxy_cookie_path,
        location=None if untouched else (settings.proxy_redirect_from, settings.proxy_redirect_to or "/"),
        fast_cgi=_fast_cgi(settings) if settings.backend_protocol == "FCGI" else None,
        guarded=settings.enable_global_auth,
        cache_seconds=settings.cache,
        silent=not settings.enable_access_log,
        virtual_address=settings.service_upstream,
        fallback=default_backend(settings),
    )


def over_tls(settings: Settings, found: Profile) -> Profile | None:
    """How AUTO_HTTP treats requests that came over TLS; None for every other protocol."""
    if settings.backend_protocol != "AUTO_HTTP":
        return None
    tls = _upstream_tls(msgspec.structs.replace(settings, backend_protocol="HTTPS"))
    return msgspec.structs.replace(found, protocol=Protocol.HTTPS, upstream_tls=tls)


def helpers(settings: Settings) -> tuple[tuple[ServiceRef, Profile], ...]:
    """The backends that a part asks besides those of its routes."""
    found = []
    for text in (settings.auth_url, settings.mirror_target):
        if reference := service(text):
            found.append(reference)
    fallback = default_backend(settings)
    if fallback and settings.custom_http_errors:
        found.append((ServiceRef(*fallback), Profile(inner=True)))
    return tuple(found)


def service(url: Text) -> tuple[ServiceRef, Profile] | None:
    """The Service that an address names, http://NAME.NAMESPACE.svc.cluster.local:PORT."""
    match = _SERVICE.match(url[0]) if url and isinstance(url[0], str) else None
    if match is None:
        return None
    scheme, name, namespace, port = match.groups()
    protocol = Protocol.HTTPS if scheme == "https" else Protocol.HTTP
    number = int(port or (443 if scheme == "https" else 80))
    return ServiceRef(namespace, name, number), Profile(protocol=protocol, inner=True)


def default_backend(settings: Settings) -> tuple[str, str, int | str] | None:
    """Namespace, name and port (0: the first) of the Service for errors."""
    if not settings.default_backend:
        return None
    name, _, port = settings.default_backend.partition(":")
    return settings.owner.namespace, name, int(port) if port.isdigit() else (port or 0)


def backend_name(ref: ServiceRef, wanted: Profile) -> str:
    """Unique and stable: the same Service treated in the same way."""
    return str(ref) if wanted == Profile() else f"{ref}#{digest(wanted)}"


def _key(settings: Settings, text: str) -> ObjectKey | None:
    """The object that `name` or `namespace/name` means."""
    if not text:
        return None
    namespace, _, name = text.rpartition("/")
    return ObjectKey(namespace or settings.owner.namespace, name)


def _cors(settings: Settings) -> Cors:
    return Cors(
        origins=settings.cors_allow_origin,
        methods=settings.cors_allow_methods,
        headers=settings.cors_allow_headers,
        expose=settings.cors_expose_headers,
        credentials=settings.cors_allow_credentials,
        max_age_seconds=settings.cors_max_age,
    )


def _affinity(settings: Settings) -> Affinity:
    return Affinity(
        cookie=settings.session_cookie_name,
        max_age_seconds=(
            settings.session_cookie_expires
            if settings.session_cookie_max_age is None
            else settings.session_cookie_max_age
        ),
        path=settings.session_cookie_path,
        domain=settings.session_cookie_domain,
        same_site=settings.session_cookie_samesite,
        conditional_same_site_none=settings.session_cookie_conditional_samesite_none,
        secure=settings.session_cookie_secure,
        change_on_failure=settings.session_cookie_change_on_failure,
    )


def _limits(settings: Settings) -> Limits | None:
    if not (settings.limit_rps or settings.limit_rpm or settings.limit_connections or settings.limit_rate):
        return None
    return Limits(
        zone=str(settings.owner),
        per_second=settings.limit_rps,
        per_minute=settings.limit_rpm,
        connections=settings.limit_connections,
        burst=settings.limit_burst_multiplier,
        exempt=settings.limit_allowlist,
        bytes_per_second=settings.limit_rate,
    )


def _basic_auth(settings: Settings) -> BasicAuth | None:
    if not settings.auth_type:
        return None
    secret = _key(settings, settings.auth_secret) or ObjectKey(settings.owner.namespace, "")
    return BasicAuth(settings.auth_realm, secret, settings.auth_secret_type == "auth-map")


def external_auth(settings: Settings) -> ExternalAuth | None:
    """The authentication server; its headers from a ConfigMap are still missing."""
    if not settings.auth_url:
        return None
    found = service(settings.auth_url)
    return ExternalAuth(
        url=settings.auth_url,
        backend=backend_name(*found) if found else "",
        method=settings.auth_method,
        signin=settings.auth_signin,
        signin_parameter=settings.auth_signin_redirect_param,
        response_headers=settings.auth_response_headers,
        request_redirect=settings.auth_request_redirect,
        always_set_cookie=settings.auth_always_set_cookie,
        cache_key=settings.auth_cache_key,
        cache_seconds=settings.auth_cache_duration if settings.auth_cache_key else (),
        headers=settings.auth_snippet,
        headers_from=_key(settings, settings.auth_proxy_set_headers),
    )


def _client_certificate(settings: Settings) -> ClientCertificate | None:
    if not settings.auth_tls_secret or settings.auth_tls_verify_client == "off":
        return None
    return ClientCertificate(
        optional=settings.auth_tls_verify_client != "on",
        common_name=settings.auth_tls_match_cn,
        error_page=settings.auth_tls_error_page,
        pass_on=settings.auth_tls_pass_certificate_to_upstream,
        unverified=settings.auth_tls_verify_client == "optional_no_ca",
    )


def _upstream_tls(settings: Settings) -> UpstreamTls | None:
    if settings.backend_protocol not in ("HTTPS", "GRPCS"):
        return None
    least, most = settings.proxy_ssl_protocols or ("", "")
    found = UpstreamTls(
        verify=settings.proxy_ssl_verify == "on",
        name=settings.proxy_ssl_name,
        send_name=settings.proxy_ssl_server_name == "on",
        ciphers=settings.proxy_ssl_ciphers,
        version_least=least,
        version_most=most,
        secret=_key(settings, settings.proxy_ssl_secret),
    )
    return None if found == UpstreamTls() else found


def _retries(settings: Settings) -> Retries | None:
    words, tries = settings.proxy_next_upstream, settings.proxy_next_upstream_tries
    if words is None and tries is None:
        return None
    words = ("error", "timeout") if words is None else words
    conditions = () if "off" in words else tuple(one for word in words for one in _RETRY.get(word, ()))
    return Retries(conditions, 3 if tries is None else min(tries or 10, 10))


def _mirror(settings: Settings) -> Mirror | None:
    if not settings.mirror_target:
        return None
    found = service(settings.mirror_target)
    return Mirror(
        url=settings.mirror_target,
        backend=backend_name(*found) if found else "",
        host=settings.mirror_host,
        body=settings.mirror_request_body == "on",
    )


def _error_pages(settings: Settings) -> ErrorPages | None:
    fallback = default_backend(settings)
    if not settings.custom_http_errors or settings.disable_proxy_intercept_errors or fallback is None:
        return None
    name = backend_name(ServiceRef(*fallback), Profile(inner=True))
    owner = settings.owner
    return ErrorPages(
        settings.custom_http_errors, name, (("X-Namespace", owner.namespace), ("X-Ingress-Name", owner.name))
    )


def _fast_cgi(settings: Settings) -> FastCgi:
    return FastCgi(settings.fastcgi_index, _key(settings, settings.fastcgi_params_configmap))


def digest(wanted: Profile) -> str:
    """A short name of a profile."""
    return hashlib.sha256(msgspec.json.encode(wanted)).hexdigest()[:10]
