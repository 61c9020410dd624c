"""How the web server of a static site is set, and which of its files go into the image.

The server starts as whatever user it has and writes only below /dev/shm, so its root may be read-only. It listens on
SITE_PORT, and on port 80 too where it may: manifests that people bring often name that one.
"""

from collections.abc import Iterator

from fairway.toolkit.oci.bases import SITE_FOLDER
from fairway.toolkit.oci.build import static_site
from fairway.toolkit.oci.context import Context
from fairway.toolkit.oci.layers import Entry

SITE_PORT = 8080
SITE_USER = "101:101"
"""Who the generated Deployment runs it as: nginx, in the images of that name."""
_HIGH, _LOW = "etc/nginx/site.conf", "etc/nginx/site-low.conf"
_START = "etc/nginx/site.sh"
COMMAND = ("sh", f"/{_START}")
_LOW_PORT = 80
_START_SCRIPT = """\
# Which of the two settings this user may have. Where there is no other user, root's workers stay root.
set -- -e /dev/stderr -g "daemon off;"
while read -r inside outside count; do most=$((inside + count)); done < /proc/self/uid_map
rights=0
while read -r name value; do [ "$name" != CapEff: ] || rights=$((0x$value)); done < /proc/self/status
read -r first 2> /dev/null < /proc/sys/net/ipv4/ip_unprivileged_port_start || first=1024
if [ "$(id -u)" = 0 ] && { [ "$most" -lt 1000 ] || [ $((rights >> 6 & 3)) != 3 ]; }; then
    set -- -e /dev/stderr -g "daemon off; user root;"
fi
if [ "$first" -le 80 ] || [ $((rights >> 10 & 1)) = 1 ]; then
    exec nginx -c /etc/nginx/site-low.conf "$@"
fi
exec nginx -c /etc/nginx/site.conf "$@"
"""
_SERVER = """worker_processes  auto;
error_log  /dev/stderr notice;
pid  /dev/shm/nginx.pid;

events {{
    worker_connections  1024;
}}

http {{
    include  /etc/nginx/mime.types;
    default_type  application/octet-stream;
    access_log  /dev/stdout;
    sendfile  on;
    server_tokens  off;
    keepalive_timeout  65;
    client_body_temp_path  /dev/shm/nginx-body;
    proxy_temp_path  /dev/shm/nginx-proxy;
    fastcgi_temp_path  /dev/shm/nginx-fastcgi;
    uwsgi_temp_path  /dev/shm/nginx-uwsgi;
    scgi_temp_path  /dev/shm/nginx-scgi;

    server {{
{listens}
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
}}
"""
_TOOLS = ("node_modules",)  # what a build needs, but no site
_NOT_FOUND = "        error_page  404 /404.html;\n"


def site_entries(context: Context, port: int = SITE_PORT) -> Iterator[Entry]:
    """The files below the web server's folder, and its settings.

    A site with a page `404.html` shows it for unknown paths; one without is taken for an application that reads the
    path itself, so unknown paths get `index.html`.
    """
    has_page = context.has_file("404.html")
    yield Entry(_START, mode=0o644, data=_START_SCRIPT.encode())
    for path, ports in ((_HIGH, (port,)), (_LOW, (port, _LOW_PORT))):
        yield Entry(path, mode=0o644, data=server_settings(has_page, ports).encode())
    for entry in static_site(context, SITE_FOLDER):
        if entry.path.removeprefix(f"{SITE_FOLDER}/").split("/")[0] not in _TOOLS:
            yield entry


def server_settings(has_not_found_page: bool, ports: tuple[int, ...]) -> str:
    """The settings of nginx for a site."""
    fallback = "$uri $uri/ =404" if has_not_found_page else "$uri $uri/ /index.html"
    not_found = _NOT_FOUND if has_not_found_page else ""
    listens = "\n".join(f"        listen  {port};" for port in dict.fromkeys(ports))
    return _SERVER.format(folder=SITE_FOLDER, fallback=fallback, not_found=not_found, listens=listens)
