"""One line of JSON per request to the engine, through a ring that never makes a request wait.

The ring keeps what the engine has not read, as when it is started again, and loses the newest when it is full. Every
text of a client goes through HAProxy's `json` converter; what the edge makes itself needs none, which is a fifth of the
cost of a line.
"""

from fairway.edge.render.rendered import Options, Section

LOG_SOCKET = "access.sock"
"""In the folder that HAProxy is locked into."""

_LINE_BYTES_MAX = 8192
_PIECES = ((0, 8), (9, 4), (14, 4), (19, 4), (24, 12))  # of a UUID as text: where its digits are
_RING_BYTES = 4 * 1024 * 1024
_TRACEPARENT = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
_HEADERS = (("host", "Host", 255), ("agent", "User-Agent", 255))  # as they came
_KEPT = ("request", "trace")  # variables of a request, made when its headers are
_CLIENTS = "bytes(0,64),json(utf8s)"
_NUMBERS = (("time", "%Ts.%ms"), ("status", "%ST"), ("sent", "%B"), ("received", "%U"), ("ms", "%Ta"), ("wait", "%Tr"))
_WORDS = (("client", "%ci"), ("version", "%HV"), ("backend", "%b"), ("server", "%si:%sp"), ("tls", "%sslv"))
_ENDS = ("end", "%tsc")


def ring(options: Options) -> tuple[Section, ...]:
    """Where lines go; nothing without a log."""
    if not options.log:
        return ()
    lines = (
        "format raw",
        f"maxlen {_LINE_BYTES_MAX}",
        f"size {_RING_BYTES}",
        "timeout connect 1s",
        "timeout server 60s",
        f"server engine {options.inside(LOG_SOCKET)} log-proto legacy",
    )
    return (Section("ring access", lines),)


def captures(options: Options) -> tuple[str, ...]:
    """What must be remembered until the end of a request; the order gives the numbers."""
    if not options.log:
        return ()
    return (
        f"log ring@access len {_LINE_BYTES_MAX} format raw local0",
        f"log-format {_format()}",
        "option dontlognull",
        *(f"capture request header {header} len {length}" for _, header, length in _HEADERS),
    )


def request_id(options: Options, made: str) -> tuple[str, ...]:
    """`made` where a request brings no id of its own."""
    if not options.log:
        return (f"http-request set-header X-Request-ID {made} unless {{ req.hdr(X-Request-ID) -m found }}",)
    return (
        f"http-request set-var(txn.request) req.hdr(X-Request-ID),{_CLIENTS}",
        f"http-request set-var-fmt(txn.request) {made} unless {{ var(txn.request) -m found }}",
        "http-request set-header X-Request-ID %[var(txn.request)] unless { req.hdr(X-Request-ID) -m found }",
    )


def trace(options: Options) -> tuple[str, ...]:
    """W3C Trace Context: a trace goes on where there is one that is well-formed, else it begins here."""
    if not options.trace:
        return (f"http-request set-var(txn.trace) req.hdr(traceparent),{_CLIENTS}",) if options.log else ()
    # One random number gives both ids, without its dashes: the span is the only one of ours in its trace.
    pieces = [f"%[var(txn.random),bytes({place},{length})]" for place, length in _PIECES]
    return (
        f"http-request set-var(txn.trace) req.hdr(traceparent),{_CLIENTS} "
        f"if {{ req.hdr(traceparent) -m reg {_TRACEPARENT} }}",
        "http-request set-var(txn.random) uuid() unless { var(txn.trace) -m found }",
        "acl begun var(txn.random) -m found",
        f"http-request set-var-fmt(txn.trace) 00-{''.join(pieces)}-{pieces[4]}{pieces[1]}-01 if begun",
        "http-request del-header tracestate if begun",
        "http-request set-header traceparent %[var(txn.trace)] if begun",
    )


def _format() -> str:
    fields = [f'"{name}":{value}' for name, value in _NUMBERS]
    fields += [f'"{name}":"{value}"' for name, value in (*_WORDS, _ENDS)]
    fields += [f'"{name}":"%[capture.req.{name},json(utf8s)]"' for name in ("method", "uri")]
    fields += [f'"{name}":"%[capture.req.hdr({number}),json(utf8s)]"' for number, (name, _, _) in enumerate(_HEADERS)]
    fields += [f'"{name}":"%[var(txn.{name})]"' for name in _KEPT]
    text = "{" + ",".join(fields) + "}"
    return '"' + text.replace('"', '\\"') + '"'
