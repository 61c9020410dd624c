"""Whose images a pod may run: in the cluster's own registry a repository belongs to the namespace it begins with.

What is pushed there is on the node already, so without this any pod could read every image by naming it. The rules are
those of a registry with rights for each namespace, at every start of a container (as with AlwaysPullImages upstream).
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from fairway.engine.kubelet.images import Credential, InvalidName, PullError
from fairway.kube.api.pods import Pod
from fairway.kube.api.resource import NAMESPACES, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, NotFound, Unreachable
from fairway.toolkit.oci.reference import InvalidReference, Reference, parse

SHARED = "shared"
"""Repositories that begin so are everybody's."""
_REVIEWS = Resource("authorization.k8s.io", "v1", "subjectaccessreviews", "SubjectAccessReview", namespaced=False)
_GROUP, _RESOURCE, _SUBRESOURCE, _VERB = "fairway.dev", "apps", "image", "get"

Credentials = Callable[[Pod], Awaitable[tuple[Credential, ...]]]
MayPull = Callable[[Reference, tuple[Credential, ...]], Awaitable[bool]]


class ImageAccess:
    """`names` are the hosts of the cluster's own registry; `may_pull` asks it whether logins are good for an image."""

    def __init__(self, client: ApiClient, names: frozenset[str], may_pull: MayPull) -> None:
        self._client = client
        self._names = names
        self._may_pull = may_pull

    async def check(self, pod: Pod, image: str, credentials: Credentials) -> None:
        """Raises PullError when the pod may not run the image, InvalidName."""
        try:
            wanted = parse(image)
        except InvalidReference as error:
            raise InvalidName(f'couldn\'t parse image name "{image}": {error}') from error
        owner, _, name = wanted.repository.partition("/")
        if wanted.registry not in self._names or owner in (pod.metadata.namespace, SHARED) or not name:
            return
        try:
            if not await self._is_namespace(owner) or await self._granted(pod, owner, name):
                return
        except (ApiError, Unreachable) as error:
            raise PullError(f'whether image "{wanted}" may be used cannot be told: {error}', retryable=True) from error
        logins = await credentials(pod)
        if logins and await self._may_pull(wanted, logins):
            return
        account = pod.spec.service_account_name or "default"
        raise PullError(
            f'pull access denied for "{wanted}": it belongs to namespace {owner}; give the pod imagePullSecrets '
            f"with a token for it (fairway registry token NAME --repository {wanted.repository} --actions pull), or "
            f"let {owner} grant {_VERB} on {_RESOURCE}/{_SUBRESOURCE}.{_GROUP} to ServiceAccount "
            f"{pod.metadata.namespace}/{account}",
            retryable=False,
        )

    async def _is_namespace(self, name: str) -> bool:
        try:
            await self._client.get(NAMESPACES, name)
        except NotFound:
            return False
        return True

    async def _granted(self, pod: Pod, owner: str, name: str) -> bool:
        """Whether the pod's ServiceAccount has the verb on the App's image, where the App is."""
        namespace = pod.metadata.namespace
        account = f"system:serviceaccount:{namespace}:{pod.spec.service_account_name or 'default'}"
        groups = ["system:serviceaccounts", f"system:serviceaccounts:{namespace}", "system:authenticated"]
        attributes = {"namespace": owner, "group": _GROUP, "resource": _RESOURCE, "subresource": _SUBRESOURCE}
        attributes |= {"name": name.partition("/")[0], "verb": _VERB}
        review: Mapping[str, Any] = {
            "apiVersion": _REVIEWS.api_version,
            "kind": _REVIEWS.kind,
            "spec": {"user": account, "groups": groups, "resourceAttributes": attributes},
        }
        answer = await self._client.create(_REVIEWS, review)
        return bool((answer.get("status") or {}).get("allowed"))
