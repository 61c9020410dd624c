"""One line of JSON per request to the engine, through a ring that never makes a request wait.

The ring keeps what the engine has not read, as when it is started again, and loses the newest when it is full. Every
text of a client goes through HAProxy's `json` converter.
"""

from fairway.edge.render.rendered import Options, Section

LOG_SOCKET = "access.sock"
"""In the folder that HAProxy is locked into."""

_LINE_BYTES_MAX = 8192
_RING_BYTES = 4 * 1024 * 1024
_TRACEPARENT = "^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}"
_HEADERS = (("host", "Host", 255), ("agent", "User-Agent", 255))  # as they came
_AFTER = (("request", "X-Request-ID", 64), ("trace", "traceparent", 64))  # as they go on
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


def late_captures(options: Options) -> tuple[str, ...]:
    """Headers that the edge itself may have set."""
    if not options.log:
        return ()
    return tuple(f"http-request capture req.hdr({header}) len {length}" for _, header, length in _AFTER)


def trace(options: Options) -> tuple[str, ...]:
    """W3C Trace Context: a trace goes on where there is one that is well-formed, else it begins here."""
    if not options.trace:
        return ()
    absent = f"!{{ req.hdr(traceparent) -m reg {_TRACEPARENT} }}"
    return (
        f"http-request del-header tracestate if {{ req.hdr(tracestate) -m found }} {absent}",
        "http-request set-header traceparent "
        f"00-%[uuid(),sha1,bytes(0,16),hex,lower]-%[uuid(),sha1,bytes(0,8),hex,lower]-01 if {absent}",
    )


def _format() -> str:
    fields = [f'"{name}":{value}' for name, value in _NUMBERS]
    fields += [f'"{name}":"{value}"' for name, value in (*_WORDS, _ENDS)]
    fields += [f'"{name}":"%[capture.req.{name},json(utf8s)]"' for name in ("method", "uri")]
    fields += [
        f'"{name}":"%[capture.req.hdr({number}),json(utf8s)]"'
        for number, (name, _, _) in enumerate((*_HEADERS, *_AFTER))
    ]
    text = "{" + ",".join(fields) + "}"
    return '"' + text.replace('"', '\\"') + '"'
