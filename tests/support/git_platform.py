"""The git endpoint in front of a real API, for tests of delivery."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Self

import controllers_world
from delivery_world import delivery_world

from fairway.delivery.git import GitEndpoint, Limits, Repositories
from fairway.delivery.kinds.resources import APPS
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import SERVICE_ACCOUNTS, Resource
from fairway.kube.client.client import ApiClient
from fairway.toolkit import logs
from fairway.toolkit.clock import SystemClock
from fairway.toolkit.http_server import HttpServer

ROLES = Resource("rbac.authorization.k8s.io", "v1", "roles", "Role")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
KEY = ObjectKey("default", "site")
Raw = dict[str, Any]


class Platform:
    """A served endpoint in front of a cluster, and what it was told of pushes."""

    def __init__(self, world: controllers_world.Cluster, folder: Path, limits: Limits) -> None:
        self.world = world
        self.repositories = Repositories(folder / "repositories", limits=limits)
        self.endpoint = GitEndpoint(self.repositories, world.client, SystemClock(), self.pushed)
        self.server = HttpServer(self.endpoint.answer, logs.get("test"), streamed=GitEndpoint.streamed)
        self.told: list[tuple[ObjectKey, str, str, str]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.followed = asyncio.Event()
        self.port = 0

    async def pushed(self, key: ObjectKey, branch: str, commit: str, actor: str) -> AsyncIterator[str]:
        self.told.append((key, branch, commit, actor))
        yield "-----> Building"
        await self.go_on.wait()
        yield "       with \x1b[31mcolours\x07"
        yield "-----> Live"
        self.followed.set()

    async def start(self) -> None:
        sock = socket.create_server(("127.0.0.1", 0))
        self.port = sock.getsockname()[1]
        await self.server.listen(sock, name="git")

    async def stop(self) -> None:
        await self.server.stop(0.1)
        await self.endpoint.aclose()

    async def app(self, name: str = "site", **spec: Any) -> None:
        await self.make_app(self.world.client, name, **spec)

    async def token(self, user: str = "pusher", verbs: tuple[str, ...] = ("get", "update"), name: str = "") -> str:
        return await self.make_token(self.world.client, user, verbs, name)

    @classmethod
    @asynccontextmanager
    async def running(cls, folder: Path, limits: Limits) -> AsyncIterator[Self]:
        """One in front of a new cluster, for as long as the block lasts."""
        async with delivery_world(folder) as world:
            made = cls(world, folder, limits)
            await made.start()
            try:
                yield made
            finally:
                await made.stop()

    @staticmethod
    async def make_app(client: ApiClient, name: str = "site", **spec: Any) -> None:
        """An App in `default`."""
        metadata = {"name": name, "namespace": "default"}
        raw = {"apiVersion": "fairway.dev/v1alpha1", "kind": "App", "metadata": metadata, "spec": spec}
        await client.create(APPS, raw)

    @staticmethod
    async def make_token(
        client: ApiClient, user: str = "pusher", verbs: tuple[str, ...] = ("get", "update"), name: str = ""
    ) -> str:
        """A new user's token, with rights on `apps/git`."""
        meta = {"name": user, "namespace": "default"}
        await client.create(SERVICE_ACCOUNTS, {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta})
        group = "rbac.authorization.k8s.io"
        rule: Raw = {"apiGroups": ["fairway.dev"], "resources": ["apps/git"], "verbs": list(verbs)}
        rule |= {"resourceNames": [name]} if name else {}
        role = {"apiVersion": f"{group}/v1", "kind": "Role", "metadata": meta, "rules": [rule] if verbs else []}
        await client.create(ROLES, role)
        subject = {"kind": "ServiceAccount", "name": user, "namespace": "default"}
        reference = {"apiGroup": group, "kind": "Role", "name": user}
        binding = {"apiVersion": f"{group}/v1", "kind": "RoleBinding", "metadata": meta}
        await client.create(ROLE_BINDINGS, {**binding, "subjects": [subject], "roleRef": reference})
        request = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        made = await client.create_subresource(SERVICE_ACCOUNTS, user, "token", request, namespace="default")
        return str(made["status"]["token"])

    def url(self, token: str = "", path: str = "default/site.git") -> str:
        user = f"anybody:{token}@" if token else ""
        return f"http://{user}127.0.0.1:{self.port}/{path}"

    async def head(self, branch: str = "main") -> str | None:
        return await self.repositories.head(KEY, branch)
