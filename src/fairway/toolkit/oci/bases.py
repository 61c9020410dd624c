"""Recipes of the base images that are assembled from Debian packages: what goes in, and how the result runs."""

from collections.abc import Mapping

import msgspec

from fairway.toolkit.oci.documents import RunConfig
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import Reference, parse

_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
SITE_FOLDER = "usr/share/nginx/html"


class Recipe(msgspec.Struct, frozen=True):
    """One base image. `keep` limits what is taken from the packages to some folders; empty takes all that runs.

    `files` and `links` are added by path. Raise `revision` when the code that assembles changes the result.
    """

    name: str
    about: str
    packages: tuple[str, ...]
    tags: tuple[str, ...]
    run: RunConfig
    keep: tuple[str, ...] = ()
    files: Mapping[str, str] = {}
    links: Mapping[str, str] = {}
    folders: tuple[str, ...] = ()
    compile_python: bool = False
    revision: int = 1


_PASSWD = """root:x:0:0:root:/root:/bin/sh
daemon:x:1:1:daemon:/usr/sbin:/usr/sbin/nologin
bin:x:2:2:bin:/bin:/usr/sbin/nologin
sys:x:3:3:sys:/dev:/usr/sbin/nologin
mail:x:8:8:mail:/var/mail:/usr/sbin/nologin
www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin
nginx:x:101:101:nginx:/nonexistent:/usr/sbin/nologin
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUP = """root:x:0:
daemon:x:1:
bin:x:2:
sys:x:3:
tty:x:5:
mail:x:8:
www-data:x:33:
nginx:x:101:
nogroup:x:65534:
"""
_NGINX_CONF = """user  nginx;
worker_processes  auto;
error_log  /var/log/nginx/error.log notice;
pid  /dev/shm/nginx.pid;

events {
    worker_connections  1024;
}

http {
    include  /etc/nginx/mime.types;
    default_type  application/octet-stream;
    access_log  /var/log/nginx/access.log;
    sendfile  on;
    server_tokens  off;
    keepalive_timeout  65;
    client_body_temp_path  /dev/shm/nginx-body;
    proxy_temp_path  /dev/shm/nginx-proxy;
    fastcgi_temp_path  /dev/shm/nginx-fastcgi;
    uwsgi_temp_path  /dev/shm/nginx-uwsgi;
    scgi_temp_path  /dev/shm/nginx-scgi;
    include  /etc/nginx/conf.d/*.conf;
}
"""
_NGINX_SERVER = """server {
    listen  80;
    server_name  localhost;

    location / {
        root  /usr/share/nginx/html;
        index  index.html index.htm;
    }
}
"""
# Where root is the only user, or may not become another one, the workers stay root.
_NGINX_ENTRYPOINT = """#!/bin/sh
most=0 rights=0
while read -r inside outside count; do most=$((inside + count)); done < /proc/self/uid_map
while read -r name value; do [ "$name" != CapEff: ] || rights=$((0x$value)); done < /proc/self/status
if [ "$1" = nginx ] && [ "$(id -u)" = 0 ] && { [ "$most" -lt 1000 ] || [ $((rights >> 6 & 3)) != 3 ]; }; then
    sed -i 's/^user .*/user  root;/' /etc/nginx/nginx.conf
fi
exec "$@"
"""
_WELCOME = """<!DOCTYPE html>
<html lang="en">
<head><meta charset="utf-8"><title>Welcome to nginx!</title></head>
<body style="font-family: sans-serif; max-width: 40em; margin: 4em auto">
<h1>Welcome to nginx!</h1>
<p>This page comes from a container. Put your own files into <code>/usr/share/nginx/html</code>.</p>
</body>
</html>
"""

NGINX = Recipe(
    name="nginx",
    about="nginx, serving /usr/share/nginx/html on port 80",
    packages=("nginx", "busybox-static", "netbase"),
    tags=("nginx:latest", "nginx:alpine", "nginx:stable"),
    run=RunConfig(
        env=(_PATH,),
        entrypoint=("sh", "/docker-entrypoint.sh"),
        cmd=("nginx", "-g", "daemon off;"),
        exposed_ports={"80/tcp": {}},
        stop_signal="SIGQUIT",
    ),
    files={
        "docker-entrypoint.sh": _NGINX_ENTRYPOINT,
        "etc/nginx/nginx.conf": _NGINX_CONF,
        "etc/nginx/conf.d/default.conf": _NGINX_SERVER,
        f"{SITE_FOLDER}/index.html": _WELCOME,
    },
    links={"var/log/nginx/access.log": "/dev/stdout", "var/log/nginx/error.log": "/dev/stderr"},
    folders=("var/lib/nginx",),
)
PYTHON = Recipe(
    name="python",
    about="Python 3 with its standard library, pip, certificates and time zones",
    packages=("python3", "python3-pip", "ca-certificates", "tzdata", "busybox-static", "netbase"),
    tags=("python:latest", "python:3", "python:3-slim"),
    run=RunConfig(env=(_PATH, "LANG=C.UTF-8", "PYTHONUNBUFFERED=1"), cmd=("python3",)),
    links={"usr/local/bin/python": "/usr/bin/python3", "usr/local/bin/python3": "/usr/bin/python3"},
    compile_python=True,
)
BUSYBOX = Recipe(
    name="busybox",
    about="one static binary with a shell and the usual small tools",
    packages=("busybox-static",),
    tags=("busybox:latest",),
    run=RunConfig(env=(_PATH,), cmd=("sh",)),
    keep=("bin", "usr/bin", "usr/share/doc"),
)
STATIC = Recipe(
    name="static",
    about="no programs at all: certificates, time zones and users, for a statically linked program",
    packages=("ca-certificates", "tzdata"),
    tags=("static:latest", "gcr.io/distroless/static-debian12:latest"),
    run=RunConfig(env=(_PATH,)),
    keep=("usr/share/ca-certificates", "usr/share/zoneinfo", "usr/share/doc"),
)
NODE = Recipe(
    name="node",
    about="Node.js 18 with npm, for builds",
    packages=("nodejs", "npm", "ca-certificates", "busybox-static", "netbase"),
    tags=("node:latest", "node:lts", "node:lts-slim", "node:18", "node:18-alpine", "node:18-slim"),
    run=RunConfig(env=(_PATH,), cmd=("node",)),
)
GO = Recipe(
    name="go",
    about="the Go compiler with its standard library, for builds",
    packages=("golang-go", "ca-certificates", "busybox-static", "netbase"),
    tags=("golang:latest", "golang:1", "golang:1.19"),
    run=RunConfig(env=(_PATH, "GOPATH=/go"), cmd=("sh",)),
)
KUBECTL = Recipe(
    name="kubectl",
    about="kubectl and a shell, for jobs that change the cluster",
    packages=("kubernetes-client", "ca-certificates", "busybox-static"),
    tags=("bitnami/kubectl:latest",),
    run=RunConfig(env=(_PATH,), cmd=("kubectl",)),
)
RECIPES: Mapping[str, Recipe] = {recipe.name: recipe for recipe in (NGINX, PYTHON, BUSYBOX, STATIC, NODE, GO, KUBECTL)}


def how_to_have(image: Reference) -> str:
    """How this machine has an image that no registry gives it: a recipe makes it, or one like it; "" for others."""
    for recipe in RECIPES.values():
        tags = [parse(tag) for tag in recipe.tags]
        command = f"fairway image build --base {recipe.name}"
        if image in tags:
            return f"{command} makes it here from Debian packages"
        if image.name in {tag.name for tag in tags}:
            return f"{command} makes {recipe.tags[-1]}; another one comes with fairway image import FILE"
    return ""


def skeleton() -> tuple[Entry, ...]:
    """What every image has: a merged /usr, users, and places to mount on."""
    folders = ("dev", "etc", "home", "proc", "run", "sys", "usr/bin", "usr/lib", "usr/lib64", "usr/local/bin")
    links = {name: f"usr/{name}" for name in ("bin", "sbin", "lib", "lib64")}
    links |= {"var/run": "/run", "etc/mtab": "/proc/mounts"}
    files = {
        "etc/passwd": _PASSWD,
        "etc/group": _GROUP,
        "etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
        "etc/host.conf": "multi on\n",
        "etc/hosts": "",
        "etc/hostname": "",
        "etc/resolv.conf": "",
    }
    return (
        *(Entry(path) for path in (*folders, "usr/sbin", "var/lib", "var/www")),
        *(Entry(path, mode=0o1777) for path in ("tmp", "var/tmp")),
        Entry("root", mode=0o700),
        *(Entry(path, target=target) for path, target in links.items()),
        *(Entry(path, mode=0o644, data=text.encode()) for path, text in files.items()),
    )


def additions(recipe: Recipe) -> tuple[Entry, ...]:
    """What the recipe itself adds."""
    return (
        *(Entry(path) for path in recipe.folders),
        *(Entry(path, mode=0o644, data=text.encode()) for path, text in recipe.files.items()),
        *(Entry(path, target=target) for path, target in recipe.links.items()),
    )
