"""ConfigMaps and Secrets by name, for volumes and variables."""

from collections.abc import Iterable

from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import CONFIG_MAPS, SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound
from fairway.kube.reconcile.cache import Cache


class Lookup:
    """The caches first, the API when they do not know a name.

    A pod may be seen before the ConfigMap that was applied just ahead of it, because each kind has its own watch;
    asking the API saves such a pod from waiting.
    """

    def __init__(self, client: ApiClient, config_maps: Cache[ConfigMap], secrets: Cache[Secret]) -> None:
        self._client = client
        self._config_maps = config_maps
        self._secrets = secrets

    async def config_maps(self, namespace: str, names: Iterable[str]) -> dict[str, ConfigMap]:
        """Those that exist.  Raises ApiError, Unreachable."""
        found = {name: await self._config_map(ObjectKey(namespace, name)) for name in names}
        return {name: each for name, each in found.items() if each is not None}

    async def secrets(self, namespace: str, names: Iterable[str]) -> dict[str, Secret]:
        """Those that exist.  Raises ApiError, Unreachable."""
        found = {name: await self._secret(ObjectKey(namespace, name)) for name in names}
        return {name: each for name, each in found.items() if each is not None}

    async def _config_map(self, key: ObjectKey) -> ConfigMap | None:
        cached = self._config_maps.get(key)
        if cached is not None:
            return cached
        try:
            return decode(ConfigMap, await self._client.get(CONFIG_MAPS, key.name, key.namespace))
        except NotFound:
            return None

    async def _secret(self, key: ObjectKey) -> Secret | None:
        cached = self._secrets.get(key)
        if cached is not None:
            return cached
        try:
            return decode(Secret, await self._client.get(SECRETS, key.name, key.namespace))
        except NotFound:
            return None
