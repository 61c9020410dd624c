"""The pages that the edge answers itself: self-contained, light and dark, and without anything of the inside."""

from collections.abc import Mapping

HTML = 'content-type "text/html; charset=utf-8"'
UPLOAD = "pages/upload.html"
# The host as the client sent it, stripped of everything that could be markup. HAProxy fills it in.
_HOST = "%[var(txn.host),regsub([^a-z0-9.:-],,g)]"
_STYLE = (
    ":root{color-scheme:light dark;--ink:#1c2430;--soft:#5b6675;--line:#d9dfe7;--paper:#f6f8fb;--card:#fff;"
    "--mark:#0b6bcb}"
    "@media(prefers-color-scheme:dark){:root{--ink:#e8edf4;--soft:#9aa7b8;--line:#2a3442;--paper:#0f141b;--card:#161d27;"
    "--mark:#66b2ff}}"
    "*{box-sizing:border-box}body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;"
    "background:var(--paper);color:var(--ink);font:1rem/1.6 system-ui,sans-serif}"
    "main{max-width:34rem;width:100#;padding:2.5rem;background:var(--card);border:1px solid var(--line);"
    "border-radius:1rem}small{color:var(--mark);font-weight:600;letter-spacing:.08em}"
    "h1{margin:.4rem 0 1rem;font-size:1.6rem;line-height:1.25;overflow-wrap:anywhere}"
    "p{margin:.6rem 0;color:var(--soft)}"
    "code{color:var(--ink);overflow-wrap:anywhere}"
)


def _page(code: int, title: str, *paragraphs: str, filled: bool = False) -> str:
    style = _STYLE.replace("100#", "100%%" if filled else "100%")
    body = "".join(f"<p>{paragraph}</p>" for paragraph in paragraphs)
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{title}</title><style>{style}</style></head>"
        f"<body><main><small>{code}</small><h1>{title}</h1>{body}</main></body></html>\n"
    )


_UNKNOWN = _page(
    404,
    "Nothing is published here",
    f"No site answers at this path of <code>{_HOST}</code>.",
    "If this is your domain: is there an Ingress for exactly this host and path? "
    "<code>kubectl get ingress -A</code> lists them, <code>kubectl describe ingress</code> says what is wrong.",
    filled=True,
)
_UNAVAILABLE = _page(
    503,
    "This site has no running instance",
    f"<code>{_HOST}</code> is published, but no instance of it is ready to answer. It may just be starting: try again "
    "in a moment.",
    "If this is your site: <code>kubectl describe ingress</code> names the Service it leads to, "
    "<code>kubectl get pods</code> shows whether its pods are ready.",
    filled=True,
)
_MAINTENANCE = _page(
    503,
    "Back in a moment",
    f"<code>{_HOST}</code> is being worked on. Nothing is lost; please try again in a few minutes.",
    filled=True,
)
ERRORS: Mapping[int, str] = {
    400: "pages/400.html",
    403: "pages/403.html",
    408: "pages/408.html",
    413: "pages/413.html",
    500: "pages/500.html",
    502: "pages/502.html",
    503: "pages/503.html",
    504: "pages/504.html",
}
"""HAProxy's own errors. They cannot name the host: HAProxy 2.8 crashes on a format in a `defaults` section."""

PAGES: Mapping[str, str] = {
    "pages/unknown.html": _UNKNOWN,
    "pages/unavailable.html": _UNAVAILABLE,
    "pages/maintenance.html": _MAINTENANCE,
    ERRORS[400]: _page(400, "This request could not be understood", "It is not proper HTTP."),
    ERRORS[403]: _page(403, "You may not see this", "Access from your network address is not allowed."),
    ERRORS[408]: _page(408, "The request took too long", "It did not arrive in time. Please try again."),
    ERRORS[413]: _page(413, "This is too large", "The upload is larger than this site allows."),
    UPLOAD: _page(413, "This upload was not accepted", "It is larger than this site allows, or it is not proper HTTP."),
    ERRORS[500]: _page(500, "Something went wrong at the entrance", "Please try again in a moment."),
    ERRORS[502]: _page(502, "The site gave no proper answer", "Please try again in a moment."),
    ERRORS[503]: _page(503, "The site does not answer", "Please try again in a moment."),
    ERRORS[504]: _page(504, "The site took too long", "It did not answer in time. Please try again in a moment."),
}
