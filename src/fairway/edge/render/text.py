"""Texts with variables to HAProxy's log format, in the double quotes that its parser needs.

What comes here was checked by `translate.variables`: printable ASCII without double quotes, $ and backslashes.
"""

import re

from fairway.edge.policy import Text, Variable

_FORWARDED_HOST = "req.hdr(X-Forwarded-Host)"
_FETCHES = {
    "args": "query",
    "best_http_host": _FORWARDED_HOST,
    "content_length": "req.hdr(Content-Length)",
    "content_type": "req.hdr(Content-Type)",
    "escaped_request_uri": "var(txn.sent),url_enc",
    "host": f"{_FORWARDED_HOST},host_only,lower",
    "http_host": _FORWARDED_HOST,
    "is_args": "query,length,bool,iif(?,)",
    "pass_access_scheme": "req.hdr(X-Forwarded-Proto)",
    "pass_port": "req.hdr(X-Forwarded-Port)",
    "pass_server_port": "req.hdr(X-Forwarded-Port)",
    "proxy_add_x_forwarded_for": "req.hdr(X-Forwarded-For)",
    "proxy_host": "be_name",
    "query_string": "query",
    "remote_addr": "src",
    "remote_port": "src_port",
    "req_id": "req.hdr(X-Request-ID)",
    "request_id": "req.hdr(X-Request-ID)",
    "request_method": "method",
    "request_uri": "var(txn.sent)",
    "scheme": "req.hdr(X-Forwarded-Proto)",
    "server_name": f"{_FORWARDED_HOST},host_only,lower",
    "server_port": "dst_port",
    "server_protocol": "req.ver",
    "ssl_client_s_dn": "ssl_c_s_dn",
    "the_real_ip": "src",
    "uri": "path",
}
_FAMILIES = {"http_": "req.fhdr({})", "arg_": "url_param({})", "cookie_": "req.cook({})", "own_": "var(txn.own_{})"}


def fetch(variable: Variable) -> str:
    """The sample expression for a variable."""
    if known := _FETCHES.get(variable.name):
        return known
    for prefix, form in _FAMILIES.items():
        if variable.name.startswith(prefix):
            name = variable.name.removeprefix(prefix)
            return form.format(name.replace("_", "-") if prefix == "http_" else name)
    raise KeyError(variable.name)


def format_of(text: Text) -> str:
    """A log format in double quotes."""
    return '"' + "".join(_literal(one) if isinstance(one, str) else f"%[{fetch(one)}]" for one in text) + '"'


def literal(text: str) -> str:
    """Plain text as a log format in double quotes."""
    return f'"{_literal(text)}"'


def _literal(text: str) -> str:
    return text.replace("%", "%%")


def expression(pattern: str) -> str:
    """A regular expression in single quotes, in which nothing is special. Checked by `checks.regex`."""
    return f"'{pattern}'"


def replacement(target: str) -> str:
    """A path with $1 to $9 as what `replace-path` puts in its place."""
    return "'" + re.sub(r"\$([1-9])", r"\\\1", target.replace("%", "%%")) + "'"
