"""The sections that backends need besides their own, and the doors that are not the main one."""

from collections.abc import Iterable, Mapping
from importlib import resources

from fairway.edge.ir import Edge, Listener, Profile
from fairway.edge.render import access, answers, servers
from fairway.edge.render.maps import PASSTHROUGH_MAP
from fairway.edge.render.names import INNER_MAP, own_name
from fairway.edge.render.rendered import Options, Section, authority_file, certificate_options

LUA_FILE = "pages/edge.lua"
USERS_FILE = "pages/users.map"
_LUA = resources.files("fairway.edge").joinpath("lua/edge.lua").read_text(encoding="utf-8")


def needs_lua(profiles: Iterable[Profile]) -> bool:
    """Whether anything asks for the Lua part."""
    return any(_needs_lua(profile) for profile in profiles)


def _needs_lua(profile: Profile) -> bool:
    if profile.external_auth or profile.mirror or profile.error_pages or profile.bounded:
        return True
    return profile.basic_auth is not None and bool(access.users_of_lua(profile.basic_auth))


def asks_itself(profiles: Iterable[Profile]) -> bool:
    """Whether some answers come over the edge's back door."""
    return any(profile.external_auth or profile.mirror for profile in profiles)


def resolvers(profiles: Iterable[Profile], options: Options) -> tuple[Section, ...]:
    """Who knows the addresses of names outside the cluster."""
    if not any(profile.external for profile in profiles):
        return ()
    servers = tuple(f"nameserver n{number} {address}" for number, address in enumerate(options.name_servers))
    lines = (*(servers or ("parse-resolv-conf",)), "accepted_payload_size 4096", "hold valid 5s", "hold obsolete 5s")
    return (Section("resolvers names", lines),)


def sections(profiles: tuple[Profile, ...]) -> tuple[Section, ...]:
    """Tables, lists of users, caches and FastCGI applications; each once."""
    found: dict[str, Section] = {}
    for profile in profiles:
        for section in _sections(profile):
            found.setdefault(section.title, section)
    return tuple(found[title] for title in sorted(found))


def _sections(profile: Profile) -> Iterable[Section]:
    if profile.basic_auth and profile.basic_auth.users is not None:
        yield access.SUCCESSES
        yield access.users_section(profile.basic_auth)
    if profile.limits:
        yield access.limit_section(profile.limits)
    if profile.cache_seconds:
        yield answers.cache_section(profile.cache_seconds)
    if profile.fast_cgi:
        yield servers.fast_cgi_section(profile.fast_cgi)


def inner(options: Options) -> Section:
    """Where the Lua part reaches backends: only this process can open it, and a header says which one it wants."""
    return Section(
        "frontend inner from edge",
        (
            f"bind unix@root/inner.sock mode 600{_owner(options)}",
            "http-request set-var(txn.backend) req.hdr(X-Fairway-Backend)",
            "http-request del-header X-Fairway-Backend",
            "http-request deny deny_status 404 if !{ var(txn.backend) -m found }",
            f"use_backend %[var(txn.backend),map_str({INNER_MAP})]",
        ),
    )


def again(options: Options) -> str:
    """The back door to the main frontend: requests of the edge to hosts that it serves itself."""
    return f"bind unix@root/again.sock mode 600{_owner(options)} name {access.AGAIN}"


def doors(edge: Edge, options: Options) -> tuple[Section, ...]:
    """Ports whose bytes are passed on as they are."""
    found = [_listener(one, options) for one in edge.listeners]
    if edge.passthroughs and options.https:
        found += _passthrough(edge, options)
    return tuple(found)


def title(listener: Listener) -> str:
    """The section of a TCP port."""
    return f"frontend tcp{listener.port} from tcp"


def _listener(listener: Listener, options: Options) -> Section:
    proxy = " accept-proxy" if listener.accept_proxy else ""
    return Section(
        title(listener),
        (
            f"bind {options.tcp_address}:{listener.port}{proxy}",
            f"use_backend %[str({own_name(listener.backend)}),map_str({INNER_MAP})]",
        ),
    )


def _passthrough(edge: Edge, options: Options) -> list[Section]:
    """TLS is looked at from outside: what is not passed on goes to the main frontend with the client's address."""
    proxy = " accept-proxy" if edge.entrance.proxy_protocol else ""
    return [
        Section(
            "frontend names from tcp",
            (
                f"bind {options.https}{proxy}",
                "tcp-request inspect-delay 5s",
                f"tcp-request content set-var(sess.backend) req.ssl_sni,lower,map_str({PASSTHROUGH_MAP})",
                "tcp-request content accept if { req.ssl_hello_type 1 }",
                "tcp-request content reject if WAIT_END",
                "use_backend %[var(sess.backend)] if { var(sess.backend) -m found }",
                "default_backend ended",
            ),
        ),
        Section("backend ended from tcp", (f"server edge {options.inside('tls.sock')} send-proxy-v2",)),
    ]


def tls_bind(edge: Edge, options: Options) -> str:
    """Where the main frontend ends TLS: at the port, or behind the one who looks at names."""
    # A certificate that is not good is for the backend's rules to refuse, with an answer that says so.
    asks = any(certificate.client_authority for certificate in edge.certificates)
    ignoring = " crt-ignore-err all ca-ignore-err all" if asks else ""
    if edge.passthroughs:
        return f"bind unix@root/tls.sock mode 600{_owner(options)} accept-proxy ssl{ignoring}"
    return f"bind {options.https}{' accept-proxy' if edge.entrance.proxy_protocol else ''} ssl{ignoring}"


def _owner(options: Options) -> str:
    return f" uid {options.run_as[0]} gid {options.run_as[1]}" if options.run_as else ""


def maps(edge: Edge, names: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Hosts that are passed through, and the backends that are asked by others; `names` are HAProxy's."""
    inner = {own_name(one.name): names[one.name] for one in edge.backends if one.profile.inner}
    passed = {one.host: names[one.backend] for one in edge.passthroughs}
    return ({INNER_MAP: inner} if inner else {}) | ({PASSTHROUGH_MAP: passed} if passed else {})


def files(edge: Edge, profiles: tuple[Profile, ...]) -> Mapping[str, str]:
    """Files that only a reload can change."""
    found: dict[str, str] = {}
    if needs_lua(profiles):
        users: dict[str, str] = {}
        for profile in profiles:
            if profile.basic_auth:
                users |= access.users_of_lua(profile.basic_auth)
        found[LUA_FILE] = _LUA
        found[USERS_FILE] = "".join(f"{key} {users[key]}\n" for key in sorted(users))
    for profile in profiles:
        found |= servers.pem_files(profile)
    for certificate in edge.certificates:
        # A certificate with options cannot be added while HAProxy runs; these files of its own make it a reload.
        if options := certificate_options(certificate):
            found[f"certs/{certificate.name}.options"] = options
        if certificate.client_authority:
            found[authority_file(certificate.name)] = certificate.client_authority
    return found
