"""kubeconfig files: read one to connect, write one for others."""

import base64
import os
import ssl
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import msgspec
import yaml

from fairway.kube.client.client import ApiClient
from fairway.toolkit.http_client import HttpClient, tcp_connector


class KubeconfigError(Exception):
    """A kubeconfig cannot be used; the message names the file, the field and what to do."""


class Access(msgspec.Struct, frozen=True):
    """Where a cluster is and who we are there; certificates and keys are PEM."""

    server: str
    ca: bytes = b""
    certificate: bytes = b""
    key: bytes = b""
    token: str = ""
    namespace: str = "default"

    def __repr__(self) -> str:
        return f"Access({self.server})"  # never the key or the token


def load(path: Path, context: str = "") -> Access:
    """Read the current (or the named) context.  Raises KubeconfigError."""
    try:
        config = yaml.safe_load(path.read_text())
    except FileNotFoundError:
        raise KubeconfigError(f"{path}: there is no such kubeconfig; `fairway up` writes one") from None
    except (OSError, yaml.YAMLError) as error:
        raise KubeconfigError(f"{path}: {error}") from error
    if not isinstance(config, dict):
        raise KubeconfigError(f"{path}: not a kubeconfig")
    chosen = _named(path, config, "contexts", context or str(config.get("current-context", "")))["context"]
    cluster = _named(path, config, "clusters", chosen.get("cluster", ""))["cluster"]
    user = _named(path, config, "users", chosen.get("user", ""))["user"]
    return Access(
        server=cluster.get("server", ""),
        ca=_pem(path, cluster, "certificate-authority"),
        certificate=_pem(path, user, "client-certificate"),
        key=_pem(path, user, "client-key"),
        token=user.get("token", ""),
        namespace=chosen.get("namespace", "default"),
    )


def _named(path: Path, config: Mapping[str, Any], section: str, name: str) -> Mapping[str, Any]:
    for entry in config.get(section) or ():
        if entry.get("name") == name:
            found: Mapping[str, Any] = entry
            return found
    raise KubeconfigError(f'{path}: {section}: there is no entry named "{name}"')


def _pem(path: Path, entry: Mapping[str, Any], field: str) -> bytes:
    if data := entry.get(f"{field}-data"):
        return base64.b64decode(data)
    name: str = entry.get(field, "")
    return (path.parent / name).read_bytes() if name else b""


def render(access: Access, *, name: str) -> bytes:
    """A kubeconfig with one cluster, one user and one context, all called `name`."""
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": name,
        "clusters": [{"name": name, "cluster": _data(server=access.server, certificate_authority=access.ca)}],
        "users": [{"name": name, "user": _data(client_certificate=access.certificate, client_key=access.key)}],
        "contexts": [{"name": name, "context": {"cluster": name, "user": name, "namespace": access.namespace}}],
    }
    return yaml.safe_dump(config, sort_keys=False).encode()


def _data(*, server: str = "", **fields: bytes) -> dict[str, str]:
    encoded = {
        f"{field.replace('_', '-')}-data": base64.b64encode(data).decode() for field, data in fields.items() if data
    }
    return {"server": server, **encoded} if server else encoded


def connect(access: Access) -> ApiClient:
    """A client for that cluster.  Raises KubeconfigError for an address or certificates that cannot be used."""
    parts = urlsplit(access.server)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise KubeconfigError(f'server "{access.server}" is not a URL like https://HOST:PORT')
    port = parts.port or (443 if parts.scheme == "https" else 80)
    context = _ssl_context(access) if parts.scheme == "https" else None
    headers = [("Authorization", f"Bearer {access.token}")] if access.token else []
    connector = tcp_connector(parts.hostname, port, context)
    return ApiClient(HttpClient(connector, host_header=parts.netloc, default_headers=headers))


def _ssl_context(access: Access) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=access.ca.decode() or None)
        if access.certificate:
            _load_pair(context, access)
    except (ssl.SSLError, ValueError) as error:
        raise KubeconfigError(f"{access.server}: the certificates of the kubeconfig cannot be used: {error}") from error
    return context


def _load_pair(context: ssl.SSLContext, access: Access) -> None:
    """OpenSSL reads key pairs from files only: it gets one that exists for a moment, readable by us alone."""
    handle, name = tempfile.mkstemp()
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(access.certificate + b"\n" + access.key)
        context.load_cert_chain(name)
    finally:
        Path(name).unlink()
