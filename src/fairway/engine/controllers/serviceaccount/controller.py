"""The loop: whenever a namespace appears, or loses one of the two, make them."""

import asyncio
from collections.abc import Mapping
from typing import Any

from fairway.engine.controllers.caches import Caches
from fairway.engine.controllers.refusals import namespace_is_ending
from fairway.engine.controllers.serviceaccount.plan import ACCOUNT, ROOT_CA, missing_account, root_ca
from fairway.kube.api.config import ConfigMap, ServiceAccount
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.resource import CONFIG_MAPS, SERVICE_ACCOUNTS, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, ApiError, NotFound
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit.clock import Clock

ROOM = "serviceaccount-controller"


class ServiceAccountController:
    """Reads caches, decides with `plan`, and writes what is missing."""

    def __init__(
        self,
        client: ApiClient,
        caches: Caches,
        accounts: Reflector[ServiceAccount],
        authorities: Reflector[ConfigMap],
        pem: str,
    ) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        self._client = client
        self._namespaces = caches.namespaces.cache
        self._accounts = accounts.cache
        self._authorities = authorities.cache
        self._pem = pem
        self._namespaces.subscribe(lambda key, old, new: self.queue.add(key))
        self._accounts.subscribe(lambda key, old, new: self.queue.add(ObjectKey("", key.namespace)))
        self._authorities.subscribe(lambda key, old, new: self.queue.add(ObjectKey("", key.namespace)))
        for namespace in self._namespaces.values():
            self.queue.add(namespace.metadata.key)

    async def reconcile(self, key: ObjectKey) -> None:
        """Look at one namespace."""
        namespace = self._namespaces.get(key)
        if namespace is None:
            return
        account = missing_account(namespace, self._accounts.get(ObjectKey(key.name, ACCOUNT)))
        authority = root_ca(namespace, self._authorities.get(ObjectKey(key.name, ROOT_CA)), self._pem)
        for resource, raw in ((SERVICE_ACCOUNTS, account), (CONFIG_MAPS, authority)):
            if raw is not None:
                await self._write(resource, raw)

    async def _write(self, resource: Resource, raw: Mapping[str, Any]) -> None:
        try:
            if raw["metadata"].get("resourceVersion"):
                await self._client.update(resource, raw)
            else:
                await self._client.create(resource, raw)
        except (AlreadyExists, NotFound):
            pass  # the cache lags, or the namespace is gone: its events bring another look
        except ApiError as error:
            if not namespace_is_ending(error):
                raise


async def run(client: ApiClient, caches: Caches, clock: Clock, *, pem: str = "") -> None:
    """Control until cancelled; the caches must be synced. Without a CA only the accounts are made."""
    accounts = Reflector(client, SERVICE_ACCOUNTS, ServiceAccount, clock, fields=f"metadata.name={ACCOUNT}")
    authorities = Reflector(client, CONFIG_MAPS, ConfigMap, clock, fields=f"metadata.name={ROOT_CA}")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(accounts, authorities))
        await wait_synced(accounts, authorities)
        controller = ServiceAccountController(client, caches, accounts, authorities, pem)
        tasks.create_task(run_keyed(ROOM, controller.queue, controller.reconcile))
