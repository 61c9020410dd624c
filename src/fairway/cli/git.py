"""`fairway git-credential` and the settings that make a repository use it: git gets short-lived tokens by itself."""

import argparse
import asyncio
import hashlib
import re
import shlex
import subprocess
import sys
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from fairway.kube.api.resource import SERVICE_ACCOUNTS, Resource
from fairway.kube.client import kubeconfig as kubeconfigs
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, Forbidden, NotFound, Unreachable
from fairway.toolkit import signing

PUSHER = "fairway-pusher"
"""The Role that lets people push; each of them has a ServiceAccount whose name begins so."""
USER_ANNOTATION = "fairway.dev/user"
"""On such a ServiceAccount: whose it is (delivery/git/access.py reads it)."""

_RBAC = "rbac.authorization.k8s.io"
_ROLES = Resource(_RBAC, "v1", "roles", "Role")
_ROLE_BINDINGS = Resource(_RBAC, "v1", "rolebindings", "RoleBinding")
_REVIEWS = Resource("authentication.k8s.io", "v1", "selfsubjectreviews", "SelfSubjectReview", namespaced=False)
_RULE = {"apiGroups": ["fairway.dev"], "resources": ["apps/git"], "verbs": ["get", "update"]}
_TOKEN_SECONDS = 3600
_UNFIT = re.compile(r"[^a-z0-9]+")

Raw = dict[str, Any]


class GitError(ValueError):
    """A git command of ours failed; the message is git's."""


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add `git-credential`, which git calls and people do not (gitcredentials(7))."""
    parser = subparsers.add_parser("git-credential", help="give git a token for pushes (called by git)")
    parser.add_argument("--kubeconfig", type=Path, required=True, metavar="FILE")
    parser.add_argument("--context", default="", metavar="NAME", help="a context of the kubeconfig")
    parser.add_argument("-n", "--namespace", default="", metavar="NS", help="that of the App")
    parser.add_argument("operation", choices=("get", "store", "erase"))
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """One call of git's. What goes wrong is told on standard error, and git goes on without credentials."""
    for _ in sys.stdin:
        pass  # which host and path it is for is known: the helper is set for one URL
    if arguments.operation == "store":
        return 0
    try:
        print(asyncio.run(_answer(arguments)), end="")
    except (ApiError, OSError, Unreachable, kubeconfigs.KubeconfigError) as error:
        print(f"fairway: no token for git: {error}", file=sys.stderr)
        return 1
    return 0


async def _answer(arguments: argparse.Namespace) -> str:
    access = kubeconfigs.load(arguments.kubeconfig, arguments.context)
    client, namespace = kubeconfigs.connect(access), arguments.namespace or access.namespace
    user = await whoami(client)
    if arguments.operation == "erase":  # the token was refused: perhaps somebody removed its rights
        await make_pusher(client, namespace, user)
        return ""
    status = await _request(client, namespace, user)
    expires = int(datetime.fromisoformat(status["expirationTimestamp"]).timestamp())
    return f"username={account_of(user)}\npassword={status['token']}\npassword_expiry_utc={expires}\n"


async def token(client: ApiClient, namespace: str) -> str:
    """A token for the endpoint, good for an hour. Raises ApiError, Unreachable."""
    return str((await _request(client, namespace, await whoami(client)))["token"])


async def whoami(client: ApiClient) -> str:
    """Who the API takes us for; "" when it does not say (before Kubernetes 1.28). Raises ApiError, Unreachable."""
    wanted = {"apiVersion": _REVIEWS.api_version, "kind": _REVIEWS.kind}
    try:
        answer = await client.create(_REVIEWS, wanted)
    except (Forbidden, NotFound):
        return ""
    return str(((answer.get("status") or {}).get("userInfo") or {}).get("username", ""))


def account_of(user: str) -> str:
    """The ServiceAccount in whose name a user pushes: readable, and another one for every user."""
    if not user:
        return PUSHER
    readable = _UNFIT.sub("-", user.lower())[:30].strip("-")
    return f"{PUSHER}-{readable}-{hashlib.sha256(user.encode()).hexdigest()[:8]}"


async def _request(client: ApiClient, namespace: str, user: str) -> Raw:
    spec = {"expirationSeconds": _TOKEN_SECONDS}
    wanted = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": spec}
    account = account_of(user)
    try:
        made = await client.create_subresource(SERVICE_ACCOUNTS, account, "token", wanted, namespace=namespace)
    except NotFound:
        await make_pusher(client, namespace, user)
        made = await client.create_subresource(SERVICE_ACCOUNTS, account, "token", wanted, namespace=namespace)
    status: Raw = made["status"]
    return status


async def make_pusher(client: ApiClient, namespace: str, user: str) -> None:
    """A user's ServiceAccount and its rights; it comes last: once it is there, all is. Raises ApiError, Unreachable."""
    name = account_of(user)
    meta = {"name": name, "namespace": namespace}
    role: Raw = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "Role",
        "metadata": {"name": PUSHER, "namespace": namespace},
        "rules": [_RULE],
    }
    binding: Raw = {
        "apiVersion": f"{_RBAC}/v1",
        "kind": "RoleBinding",
        "metadata": meta,
        "roleRef": {"apiGroup": _RBAC, "kind": "Role", "name": PUSHER},
        "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespace}],
    }
    whose = {"annotations": {USER_ANNOTATION: user}} if user else {}
    account: Raw = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {**meta, **whose}}
    for resource, obj in ((_ROLES, role), (_ROLE_BINDINGS, binding), (SERVICE_ACCOUNTS, account)):
        try:
            await client.create(resource, obj)
        except AlreadyExists:
            continue
        except Forbidden as error:
            made = obj["metadata"]["name"]
            what = f"{resource.kind} {namespace}/{made} is missing and you may not make it; ask who administers it"
            raise Forbidden(error.code, error.reason, f"{what} ({error})") from error


def configuration(url: str, *, ca: Path | None, kubeconfig: Path, namespace: str) -> Mapping[str, str]:
    """Git's settings for one endpoint: whom to trust, and where tokens come from.

    The helper is named twice in two spellings, which git takes for the same: the empty one ends the list of helpers
    set elsewhere, which would keep our tokens on disk.
    """
    base = _base(url)
    command = (program(), "git-credential", "--kubeconfig", str(kubeconfig.absolute()), "--namespace", namespace)
    settings = {
        f"credential.{base}.Helper": "",
        f"credential.{base}.helper": f"!{shlex.join(command)}",
    }
    return {**settings, **(_trust(base, ca) if ca is not None else {})}


def _trust(base: str, ca: Path) -> Mapping[str, str]:
    """The root as a file and as a folder of its own: $GIT_SSL_CAINFO overrules the file everywhere, not the folder."""
    found = {f"http.{base}.sslCAInfo": str(ca.absolute())}
    folder = ca.absolute().with_suffix(".d")
    try:
        link = folder / signing.openssl_name(ca.read_bytes())
        folder.mkdir(exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(Path("..") / ca.name)
    except FileExistsError:
        pass  # somebody else was faster
    except (OSError, ValueError):
        return found  # not ours to write into
    return {**found, f"http.{base}.sslCAPath": str(folder)}


def add_remote(folder: Path, name: str, url: str, *, ca: Path | None, kubeconfig: Path, namespace: str) -> None:
    """Add or change a remote of the repository in `folder`, with its settings. Raises GitError."""
    _git(folder, "remote", *(("set-url",) if name in _git(folder, "remote").split() else ("add",)), name, url)
    base = _base(url)
    for key in (f"credential.{base}.helper", f"http.{base}.sslCAInfo", f"http.{base}.sslCAPath"):
        _git(folder, "config", "--local", "--unset-all", key, missing_is_fine=True)
    for key, value in configuration(url, ca=ca, kubeconfig=kubeconfig, namespace=namespace).items():
        _git(folder, "config", "--local", "--add", key, value)


def _base(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def program() -> str:
    """This very installation, wherever git is called from."""
    beside = Path(sys.executable).with_name("fairway")
    return str(beside) if beside.exists() else "fairway"


def _git(folder: Path, *arguments: str, missing_is_fine: bool = False) -> str:
    done = subprocess.run(("git", *arguments), cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode and not (missing_is_fine and done.returncode == 5):
        raise GitError(f"git {arguments[0]}: {done.stderr.strip() or f'it ended with {done.returncode}'}")
    return done.stdout
