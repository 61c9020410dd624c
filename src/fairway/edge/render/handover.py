"""What a replaced HAProxy does with requests that still come to it: it hands them to the one that took over.

A client's connection that waits in a process while that is replaced is answered there once more, and then closed. That
process hears of no later pod, route or certificate, so it does not answer by itself: the request goes through a Unix
socket to whoever listens there now, with the PROXY protocol for the addresses; TLS has a socket of its own.
A connection that showed a client certificate stays, since the certificate cannot be handed on.
"""

from fairway.edge.render import access
from fairway.edge.render.rendered import Options, Section

TLS = "handed_tls"
"""The name of the door behind which the client's connection is TLS."""

SCHEME = f"http-request set-var(txn.scheme) str(https) if {{ so_name -m str {TLS} }}"
_PLAIN = "handed"


def _replaced(again: bool) -> str:
    """One look at a flag where nothing was replaced. Requests of the Lua part come from no client."""
    inner = f" !{{ so_name -m str {access.AGAIN} }}" if again else ""
    return f"if {{ stopping }} !{{ ssl_c_used }}{inner}"


def first(again: bool) -> str:
    """Before any other rule of the main frontend: nothing is decided here any more."""
    return f"http-request allow {_replaced(again)}"


def target(again: bool) -> str:
    """Before any other choice of a backend."""
    return f"use_backend handover {_replaced(again)}"


def binds(options: Options) -> tuple[str, ...]:
    """The doors of the frontend for what is handed over."""
    owner = f" uid {options.run_as[0]} gid {options.run_as[1]}" if options.run_as else ""
    return tuple(f"bind unix@root/{name}.sock mode 600{owner} accept-proxy name {name}" for name in (_PLAIN, TLS))


def section(options: Options) -> Section:
    """The way to them: the one that takes over logs, counts, limits time, and tries again."""
    return Section(
        "backend handover from edge",
        (
            "http-request set-log-level silent",
            "timeout server 1h",
            "no option redispatch",
            # Whoever had not taken the connection yet when it was replaced itself closes it without a word.
            "http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }",
            "retry-on conn-failure empty-response",
            # Who listens there may be replaced in turn, so every request looks anew.
            "option http-server-close",
            "http-reuse never",
            f"use-server {TLS} if {{ ssl_fc }}",
            f"use-server {_PLAIN} if !{{ ssl_fc }}",
            *(f"server {name} {options.inside(f'{name}.sock')} send-proxy-v2" for name in (_PLAIN, TLS)),
        ),
    )
