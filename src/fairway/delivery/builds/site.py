"""The server settings of a static site, and which of its files go into the image."""

from collections.abc import Iterator

from fairway.toolkit.oci.bases import SITE_FOLDER
from fairway.toolkit.oci.build import static_site
from fairway.toolkit.oci.context import Context
from fairway.toolkit.oci.layers import Entry

SITE_PORT = 80
_SERVER_PATH = "etc/nginx/conf.d/default.conf"
_SERVER = """server {{
    listen  80;
    server_name  _;
    root  /{folder};
    index  index.html index.htm;
    absolute_redirect  off;
    gzip  on;
    gzip_types  text/css text/javascript application/javascript application/json image/svg+xml;
{not_found}
    location / {{
        try_files  {fallback};
    }}
}}
"""
_TOOLS = ("node_modules",)  # what a build needs, but no site
_NOT_FOUND = "    error_page  404 /404.html;\n"


def site_entries(context: Context) -> Iterator[Entry]:
    """The files below the web server's folder, and its settings.

    A site with a page `404.html` shows it for unknown paths; one without is taken for an application that reads the
    path itself, so unknown paths get `index.html`.
    """
    has_page = context.has_file("404.html")
    yield Entry(_SERVER_PATH, mode=0o644, data=server_settings(has_page).encode())
    for entry in static_site(context, SITE_FOLDER):
        if entry.path.removeprefix(f"{SITE_FOLDER}/").split("/")[0] not in _TOOLS:
            yield entry


def server_settings(has_not_found_page: bool) -> str:
    """The nginx server block of a site."""
    fallback = "$uri $uri/ =404" if has_not_found_page else "$uri $uri/ /index.html"
    not_found = _NOT_FOUND if has_not_found_page else ""
    return _SERVER.format(folder=SITE_FOLDER, fallback=fallback, not_found=not_found)
