"""How servers are chosen, spoken to and given up: the lines of a backend and the words behind each server."""

import hashlib

from fairway.edge.ir import Profile, Protocol
from fairway.edge.policy import FastCgi, UpstreamTls
from fairway.edge.render import text
from fairway.edge.render.rendered import Section

_ADDRESSES_MOST = 4
_OPTIONS = {
    Protocol.HTTP: "",
    Protocol.HTTPS: " ssl verify none",  # ingress-nginx: proxy-ssl-verify is off unless asked for
    Protocol.GRPC: " proto h2",
    Protocol.GRPCS: " ssl verify none alpn h2",
    Protocol.FCGI: " proto fcgi",
    Protocol.TCP: "",
}


def options(profile: Profile) -> str:
    """What follows the address of every server."""
    words = _OPTIONS[profile.protocol]
    if profile.proxy_protocol:
        words += " send-proxy"
    tls = profile.upstream_tls
    return words if tls is None else words.replace(" ssl verify none", _tls(tls))


def external(profile: Profile, target: tuple[str, int]) -> str:
    """Servers by a name, one for each of its addresses; HAProxy asks again as often as the answer says."""
    return (
        f"server-template e {_ADDRESSES_MOST} {target[0]}:{target[1]} resolvers names init-addr none{options(profile)}"
    )


def _tls(tls: UpstreamTls) -> str:
    words = " ssl"
    # Without authorities to check against nobody is right; the file of none is not there, so `verify` must stay off
    # and the backend itself refuses, see `unusable`.
    words += f" verify required ca-file {pem_file(tls.authority)}" if checked(tls) else " verify none"
    if checked(tls) and tls.name:
        words += f" verifyhost {tls.name}"
    if tls.identity:
        words += f" crt {pem_file(tls.identity)}"
    if tls.send_name:
        words += f" sni str({tls.name})" if tls.name else " sni req.hdr(Host),host_only"
    words += f" ciphers {tls.ciphers}" if tls.ciphers else ""
    words += f" ssl-min-ver {tls.version_least}" if tls.version_least else ""
    return words + (f" ssl-max-ver {tls.version_most}" if tls.version_most else "")


def checked(tls: UpstreamTls) -> bool:
    return tls.verify and bool(tls.authority)


def unusable(tls: UpstreamTls) -> bool:
    """Whether servers must not be spoken to: the check that was asked for cannot be made."""
    return tls.broken or (tls.verify and not tls.authority)


def pem_file(content: str) -> str:
    """The file of a PEM text."""
    return f"certs/c{hashlib.sha256(content.encode()).hexdigest()[:16]}.crt"


def pem_files(profile: Profile) -> dict[str, str]:
    """File → text of everything that the servers' options name."""
    tls = profile.upstream_tls
    return {pem_file(one): one for one in (tls.authority, tls.identity) if one} if tls else {}


def choice(profile: Profile) -> tuple[str, ...]:
    """Timeouts, the algorithm, and when another server is tried."""
    lines: tuple[str, ...] = ()
    if profile.connect_timeout_seconds is not None:
        lines += (f"timeout connect {profile.connect_timeout_seconds}s",)
    if profile.hash_by:
        lines += ("balance hash var(txn.hash)", "hash-type consistent sdbm avalanche")
    elif profile.balance == "ewma":
        lines += ("balance random(2)",)
    if profile.retries:
        conditions = " ".join(dict.fromkeys(profile.retries.conditions)) or "none"
        lines += (f"retries {max(profile.retries.tries - 1, 0)}", f"retry-on {conditions}")
    return lines


def hash_key(profile: Profile) -> tuple[str, ...]:
    """What consistent hashing works on."""
    return (f"http-request set-var-fmt(txn.hash) {text.format_of(profile.hash_by)}",) if profile.hash_by else ()


def fast_cgi_name(fast_cgi: FastCgi) -> str:
    return "f" + hashlib.sha256(repr((fast_cgi.index, fast_cgi.parameters)).encode()).hexdigest()[:12]


def fast_cgi_section(fast_cgi: FastCgi) -> Section:
    """`docroot` has to be there; a SCRIPT_FILENAME among the parameters replaces what comes of it."""
    lines = ["docroot /", *([f"index {fast_cgi.index}"] if fast_cgi.index else [])]
    lines += [f"set-param {name} {text.literal(value)}" for name, value in fast_cgi.parameters]
    return Section(f"fcgi-app {fast_cgi_name(fast_cgi)}", tuple(lines))
