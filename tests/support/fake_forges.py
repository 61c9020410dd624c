"""Forges for tests: one kind each of API and of signed delivery, in front of a real git over HTTP."""

import asyncio
import base64
import hashlib
import hmac
import os
import re
import socket
import ssl
import subprocess
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
from git_work import Work

from fairway.toolkit import logs
from fairway.toolkit.http_client import HttpClient, tcp_connector
from fairway.toolkit.http_messages import Request, Response
from fairway.toolkit.http_server import HttpServer

KINDS = ("gitee", "gitcode", "github", "gitlab", "gitea", "forgejo")
TOKEN = "the-token"
_API = {
    "gitee": "/api/v5",
    "gitcode": "/api/v5",
    "github": "/api/v3",
    "gitlab": "/api/v4",
    "gitea": "/api/v1",
    "forgejo": "/api/v1",
}
Headers = tuple[tuple[str, str], ...]
Raw = dict[str, Any]


class FakeForge:
    """One repository, `team/site`."""

    def __init__(self, kind: str, folder: Path, now_seconds: float) -> None:
        folder.mkdir(parents=True)
        self.kind = kind
        self.folder = folder
        self.now_seconds = now_seconds
        self.repository_id = 41
        self.hooks: dict[int, Raw] = {}
        self.statuses: list[tuple[str, str, str]] = []
        self.comments: list[str] = []
        self.files: dict[str, Raw] = {}
        self.asked: list[str] = []
        self.broken: Response | None = None
        self.without_checks = False
        self.told = asyncio.Event()
        self.server = HttpServer(self._answer, logs.get("test"))
        self.work = Work(folder / "work")
        self.work.git("clone", "-q", "--bare", str(folder / "work"), str(folder / "site.git"))
        self._count = 0
        self.port = 0
        self.scheme = "http"

    async def start(self, tls: ssl.SSLContext | None = None) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        self.scheme = "https" if tls else "http"
        await self.server.listen(sock, name="forge", tls=tls)

    async def stop(self) -> None:
        await self.server.stop(0.1)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}/team/site.git"

    @property
    def api_url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}{_API[self.kind]}"

    def commit(self, message: str = "a change", **files: str) -> str:
        """A commit on main; nobody is told."""
        commit = self.work.commit(message, **files)
        self.work.git("push", "-q", str(self.folder / "site.git"), "main")
        return commit

    async def deliver(
        self, commit: str, *, secret: str = "", headers: Headers | None = None, **body: Any
    ) -> tuple[int, str]:
        """Tell every webhook of a push, the forge's own way; the last answer."""
        status, text = 0, ""
        for hook in self.hooks.values():
            data, signed = self.delivery(commit, secret or self.secret_of(hook), **body)
            status, text = await post(self.url_of(hook), data, headers or signed)
        return status, text

    def delivery(self, commit: str, secret: str, ref: str = "refs/heads/main", **more: Any) -> tuple[bytes, Headers]:
        """A body and its headers."""
        self._count += 1
        body = {
            "ref": ref,
            "after": commit,
            "repository": {"id": self.repository_id},
            "user_name": "A\x1bPerson",
            **more,
        }
        data = msgspec.json.encode(body)
        return data, getattr(self, f"_sign_{self.kind}")(data, secret, f"delivery-{self._count}")

    def secret_of(self, hook: Raw) -> str:
        return str(hook.get("password") or hook.get("token") or hook.get("config", {}).get("secret"))

    def url_of(self, hook: Raw) -> str:
        return str(hook.get("url") or hook["config"]["url"])

    def _sign_gitee(self, data: bytes, secret: str, identity: str) -> Headers:
        stamp = str(int(self.now_seconds * 1000) + self._count)
        digest = hmac.new(secret.encode(), f"{stamp}\n{secret}".encode(), hashlib.sha256).digest()
        token = base64.b64encode(digest).decode()
        return (("X-Gitee-Event", "Push Hook"), ("X-Gitee-Token", token), ("X-Gitee-Timestamp", stamp))

    def _sign_gitcode(self, data: bytes, secret: str, identity: str) -> Headers:
        digest = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
        return (
            ("X-GitCode-Event", "Push Hook"),
            ("X-GitCode-Delivery", identity),
            ("X-GitCode-Signature-256", f"sha256={digest}"),
        )

    def _sign_github(self, data: bytes, secret: str, identity: str) -> Headers:
        digest = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
        return (
            ("X-GitHub-Event", "push"),
            ("X-GitHub-Delivery", identity),
            ("X-Hub-Signature-256", f"sha256={digest}"),
        )

    def _sign_gitlab(self, data: bytes, secret: str, identity: str) -> Headers:
        return (("X-Gitlab-Event", "Push Hook"), ("X-Gitlab-Event-UUID", identity), ("X-Gitlab-Token", secret))

    def _sign_gitea(self, data: bytes, secret: str, identity: str, name: str = "Gitea") -> Headers:
        digest = hmac.new(secret.encode(), data, hashlib.sha256).hexdigest()
        own = ((f"X-{name}-Event", "push"), (f"X-{name}-Delivery", identity), (f"X-{name}-Signature", digest))
        return (*own, ("X-GitHub-Event", "push"), ("X-Hub-Signature-256", f"sha256={digest}"))

    def _sign_forgejo(self, data: bytes, secret: str, identity: str) -> Headers:
        return self._sign_gitea(data, secret, identity, "Forgejo")

    async def _answer(self, request: Request) -> Response:
        if request.path.startswith("/team/site.git/"):
            return await self._git(request)
        self.asked.append(f"{request.method} {request.path}")
        given = request.header("private-token") or request.header("authorization").removeprefix("token ")
        if given != TOKEN:
            return Response(401, b'{"message": "unauthorized"}')
        if self.broken is not None:
            return self.broken
        path = request.path.removeprefix(_API[self.kind])
        at = "/projects/team%2Fsite" if self.kind == "gitlab" else "/repos/team/site"
        if not path.startswith(at):
            return Response(404, b"{}")
        body = msgspec.json.decode(request.body) if request.body else {}
        found = self._api(request.method, path.removeprefix(at), body)
        self.told.set()
        return found if isinstance(found, Response) else _json(found)

    def _api(self, method: str, path: str, body: Raw) -> Any:
        if not path:
            return {"id": self.repository_id, "default_branch": "main"}
        if path.startswith("/hooks"):
            return self._hook(method, path.removeprefix("/hooks").strip("/"), body)
        if path.endswith("/branches"):
            return [{"name": "main"}]
        if found := re.match(r"/statuses/([0-9a-f]{40})\Z", path):
            if self.kind in ("gitee", "gitcode"):
                return Response(404, b"{}")
            self.statuses.append((found[1], str(body.get("context") or body["name"]), body["state"]))
            return _json({}, 201)
        if "/check-runs" in path and self.kind == "gitee" and not self.without_checks:
            return self._check(method, body)
        if path.endswith("/comments") and self.kind in ("gitee", "gitcode"):
            self.comments.append(body["body"])
            if self.kind == "gitcode":  # where it has no other way, the comment is the status
                context, _, said = body["body"].replace("**", "").partition(": ")
                state = "success" if said.startswith("built") else "failure"
                self.statuses.append((path.split("/")[2], context, state))
            return _json({}, 201)
        if found := re.match(r"/(?:contents|repository/files)/(.*)\Z", path):
            return self._file(method, unquote(found[1]), body)
        return Response(404, b"{}")

    def _hook(self, method: str, number: str, body: Raw) -> Any:
        if method == "GET":
            return [{"id": one, **hook} for one, hook in self.hooks.items()]
        if method == "POST":
            self._count += 1
            self.hooks[self._count] = body
            return _json({"id": self._count}, 201)
        if int(number) not in self.hooks or method not in ("DELETE", "PUT" if self.kind == "gitlab" else "PATCH"):
            return Response(405, b"{}")
        if method == "DELETE":
            del self.hooks[int(number)]
            return Response(204)
        self.hooks[int(number)] = body
        return {"id": int(number)}

    def _check(self, method: str, body: Raw) -> Any:
        if method == "GET":
            names = dict.fromkeys(name for _, name, _ in self.statuses)
            return {"check_runs": [{"id": number, "name": name} for number, name in enumerate(names)]}
        self.statuses.append((body["head_sha"], body["name"], body.get("conclusion") or body["status"]))
        return _json({"id": 1}, 201)

    def _file(self, method: str, path: str, body: Raw) -> Any:
        if method == "GET":
            if path in self.files:
                return self.files[path]
            return [] if self.kind == "gitee" else Response(404, b"{}")
        if method != ("PUT" if self.kind == "github" else "POST"):
            return Response(405, b"{}")
        self.files[path] = body
        return _json({}, 201)

    async def _git(self, request: Request) -> Response:
        """`git http-backend`, as forges of old ran it (RFC 3875)."""
        pair = base64.b64encode(f"oauth2:{TOKEN}".encode()).decode()
        if request.header("authorization") != f"Basic {pair}":
            return Response(401, b"", (("WWW-Authenticate", 'Basic realm="forge"'),))
        environment = {
            "PATH": os.environ["PATH"],
            "GIT_PROJECT_ROOT": str(self.folder),
            "GIT_HTTP_EXPORT_ALL": "1",
            "GIT_CONFIG_COUNT": "1",
            "GIT_CONFIG_KEY_0": "safe.directory",
            "GIT_CONFIG_VALUE_0": "*",
            "PATH_INFO": request.path.removeprefix("/team"),
            "REQUEST_METHOD": request.method,
            "QUERY_STRING": request.query,
            "CONTENT_TYPE": request.header("content-type"),
            "HTTP_CONTENT_ENCODING": request.header("content-encoding"),
            "GIT_PROTOCOL": request.header("git-protocol"),
            "CONTENT_LENGTH": str(len(request.body)),
        }
        # By a thread: who asks may be gone by now, and asyncio would leave the pipes of what is cancelled open.
        backend = partial(subprocess.run, ["git", "http-backend"], env=environment, stdout=subprocess.PIPE, check=False)
        done = await asyncio.to_thread(backend, input=request.body)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        headers = tuple(line.split(": ", 1) for line in head.decode().split("\r\n"))
        status = next((int(value.split()[0]) for name, value in headers if name == "Status"), 200)
        return Response(status, body, tuple((name, value) for name, value in headers if name != "Status"))


async def post(url: str, data: bytes, headers: Headers = ()) -> tuple[int, str]:
    """What a webhook's receiver answers."""
    parts = urlsplit(url)
    assert parts.hostname is not None and parts.port is not None and not parse_qs(parts.query)
    async with HttpClient(tcp_connector(parts.hostname, parts.port), host_header=parts.netloc) as client:
        answer = await client.request("POST", parts.path, headers=headers, body=data)
        return answer.status, (await answer.read()).decode()


def _json(value: Any, status: int = 200) -> Response:
    return Response(status, msgspec.json.encode(value), (("Content-Type", "application/json"),))
