"""Text with nginx' variables, `https://$host/x`, to pieces; only variables that the edge knows."""

import re
from collections.abc import Collection

from fairway.edge.policy import Text, Variable
from fairway.edge.translate.checks import Refused, short

# fmt: off
NAMES = frozenset({
    "args", "best_http_host", "content_length", "content_type", "escaped_request_uri", "host", "http_host",
    "is_args", "pass_access_scheme", "pass_port", "pass_server_port", "proxy_add_x_forwarded_for", "proxy_host",
    "query_string", "remote_addr", "remote_port", "req_id", "request_id", "request_method", "request_uri",
    "scheme", "server_name", "server_port", "server_protocol", "ssl_client_s_dn", "the_real_ip", "uri",
})
# fmt: on
_FAMILY = re.compile(r"(?:http|arg|cookie|sent_http|upstream_http)_[a-z0-9_]{1,64}")
_REFERENCE = re.compile(r"\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))")
_LITERAL = re.compile(r"[ !#%-\[\]-~]*")  # printable ASCII without " $ \: safe between double quotes of HAProxy
_CHARACTERS_MAX = 2048


def parse(text: str, own: Collection[str] = ()) -> Text:
    """Pieces of text; `own` are names that a snippet has set. Raises Refused."""
    if len(text) > _CHARACTERS_MAX:
        raise Refused(f"{short(text)} has more than {_CHARACTERS_MAX} characters")
    pieces: list[str | Variable] = []
    position = 0
    for match in _REFERENCE.finditer(text):
        _literal(text[position : match.start()], pieces)
        pieces.append(_variable(match[1] or match[2], own))
        position = match.end()
    _literal(text[position:], pieces)
    return tuple(pieces)


def _variable(name: str, own: Collection[str]) -> Variable:
    if name in own:
        return Variable(f"own_{name}")
    if name in NAMES or (_FAMILY.fullmatch(name) and not name.startswith(("sent_", "upstream_"))):
        return Variable(name)
    raise Refused(f"variable ${name} is not known to the edge")


def _literal(text: str, pieces: list[str | Variable]) -> None:
    if not _LITERAL.fullmatch(text):
        raise Refused(f"{short(text)} must be printable ASCII without double quotes, backslashes and lone $")
    if text:
        pieces.append(text)


def url(text: str) -> Text:
    """An http or https address that may hold variables, also as its host."""
    found = parse(text)
    head = found[0] if found and isinstance(found[0], str) else ""
    if not re.match(r"https?://", head) and found[:1] != (Variable("scheme"),):
        raise Refused(f"{short(text)} must start with http:// or https://")
    if re.search(r"[\s<>'{}|^`]", "".join(piece for piece in found if isinstance(piece, str))):
        raise Refused(f"{short(text)} holds characters that an address cannot have")
    return found


def reference(text: str) -> Text:
    """Like `url`, or a path of the same host."""
    return parse(text) if re.fullmatch(r"/[^\s<>'{}|^`]*", text) else url(text)
