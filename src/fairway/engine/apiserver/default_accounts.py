"""Every namespace has its ServiceAccount `default` from its first moment, so that pods can follow at once.

Upstream leaves that to a controller and lets pods wait for it; that controller runs here, too, for later losses.
"""

import asyncio

from fairway.engine.apiserver.errors import ApiError
from fairway.engine.apiserver.registry import Body, Registry, WriteOptions
from fairway.engine.apiserver.store import ADDED, Event, Key
from fairway.toolkit import logs

log = logs.get("apiserver")

_NAME = "default"
_NAMESPACES, _ACCOUNTS = "namespaces", "serviceaccounts"
_OPTIONS = WriteOptions(field_manager="kube-apiserver", field_validation="Strict")


class DefaultAccounts:
    """Writes what is missing as soon as a namespace is there."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self) -> None:
        """Follow new namespaces, and look at those that exist."""
        for entry in self._registry.store.select(_NAMESPACES):
            self._ensure(entry.key.name)
        self._registry.store.subscribe(_NAMESPACES, self._changed)

    async def settle(self) -> None:
        """Wait for what has been begun."""
        await asyncio.gather(*self._tasks)

    def _changed(self, event: Event) -> None:
        if event.type == ADDED:
            self._ensure(event.key.name)

    def _ensure(self, namespace: str) -> None:
        if self._registry.store.latest(Key(_ACCOUNTS, namespace, _NAME)) is None:
            task = asyncio.get_running_loop().create_task(self._create(namespace))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _create(self, namespace: str) -> None:
        kind = self._registry.kinds.find("", "v1", _ACCOUNTS)
        if kind is None:
            return
        body = {"kind": "ServiceAccount", "apiVersion": "v1", "metadata": {"name": _NAME, "namespace": namespace}}
        try:
            await self._registry.create(kind, namespace, Body(body), _OPTIONS)
        except ApiError as error:
            if error.code not in (403, 404, 409):  # the namespace is ending or gone, or somebody was faster
                log.warning("failed to create the default account", namespace=namespace, error=error)
