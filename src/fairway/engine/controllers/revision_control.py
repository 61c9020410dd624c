"""Writing ControllerRevisions as a plan says."""

from fairway.engine.controllers.patches import seen_version
from fairway.engine.controllers.revisions import Create, Renumber
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode, without_nulls
from fairway.kube.api.resource import CONTROLLER_REVISIONS
from fairway.kube.api.statefulsets import ControllerRevision
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound
from fairway.kube.reconcile.cache import Cache


class RevisionControl:
    """Writes go to the cache at once, so that a loop that is faster than its watch does not write twice."""

    def __init__(self, client: ApiClient, cache: Cache[ControllerRevision]) -> None:
        self._client = client
        self._cache = cache

    async def record(self, action: Create | Renumber) -> bool:
        """Do it; False when the name is taken by another state, so that the hash has to be another one."""
        if isinstance(action, Renumber):
            await self._renumber(action)
            return True
        metadata = action.revision["metadata"]
        try:
            raw = await self._client.create(CONTROLLER_REVISIONS, action.revision)
        except AlreadyExists:
            raw = await self._client.get(CONTROLLER_REVISIONS, metadata["name"], metadata["namespace"])
            found = decode(ControllerRevision, raw)
            owner = found.metadata.controller
            same = without_nulls(found.data) == action.revision["data"]
            if not same or owner is None or owner.uid != metadata["ownerReferences"][0]["uid"]:
                return False
        self._take(raw)
        return True

    async def forget(self, revision: ControllerRevision) -> None:
        """Delete a state that nobody needs any more."""
        metadata = revision.metadata
        try:
            await self._client.delete(
                CONTROLLER_REVISIONS, metadata.name, namespace=metadata.namespace, uid=metadata.uid
            )
        except NotFound:
            pass  # gone meanwhile, which is what we want

    async def _renumber(self, action: Renumber) -> None:
        metadata = action.revision.metadata
        patch = {"metadata": seen_version(metadata), "revision": action.number}
        raw = await self._client.patch(CONTROLLER_REVISIONS, metadata.name, patch, namespace=metadata.namespace)
        self._take(raw)

    def _take(self, raw: dict[str, object]) -> None:
        known = self._cache.get(ObjectKey(raw["metadata"]["namespace"], raw["metadata"]["name"]))  # type: ignore[index]
        if known is None or int(known.metadata.resource_version) < int(raw["metadata"]["resourceVersion"]):  # type: ignore[index]
            self._cache.apply(raw)
