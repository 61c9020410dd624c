"""Pull the images of containers, with upstream's events and back-off."""

import base64
import binascii
from collections.abc import Mapping
from datetime import datetime

import msgspec

from fairway.engine.kubelet.errors import StartRefused
from fairway.engine.kubelet.image_access import ImageAccess
from fairway.engine.kubelet.images import (
    BadCredentials,
    Credential,
    Image,
    ImageNotPresent,
    InvalidName,
    Policy,
    PullError,
    parse_docker_config,
)
from fairway.engine.kubelet.interfaces import Images
from fairway.engine.kubelet.lookup import Lookup
from fairway.engine.kubelet.reports import Reports
from fairway.kube.api.config import Secret
from fairway.kube.api.pods import Container, Pod
from fairway.toolkit.clock import Clock

_FIRST_SECONDS = 10.0
_LONGEST_SECONDS = 300.0
_SHOW_ERROR_SECONDS = 5.0
_KEYS: Mapping[str, str] = {
    "kubernetes.io/dockerconfigjson": ".dockerconfigjson",
    "kubernetes.io/dockercfg": ".dockercfg",
}
_POLICIES: Mapping[str, Policy] = {"Always": "Always", "Never": "Never"}


class _Failure(msgspec.Struct, frozen=True):
    seconds: float
    at: datetime
    message: str


class Pulls:
    """Images for containers; one that failed is not asked for again before its delay, 10 s doubling to 5 min.

    ErrImagePull is shown first and ImagePullBackOff for the rest of the delay, as upstream's sync loop makes it look.
    """

    def __init__(self, images: Images, lookup: Lookup, reports: Reports, clock: Clock, access: ImageAccess) -> None:
        self._images = images
        self._access = access
        self._lookup = lookup
        self._reports = reports
        self._clock = clock
        self._failures: dict[tuple[str, str], _Failure] = {}

    async def ensure(self, pod: Pod, container: Container, *, init: bool) -> Image:
        """The image of a container.  Raises StartRefused with the waiting reason and when to try again."""
        policy = _POLICIES.get(container.image_pull_policy, "IfNotPresent")
        say = _Voice(self._reports, pod, container, init=init)
        try:
            await self._check(say, pod, container)
            if policy != "Always" and (present := await self._present(container.image)):
                say.normal("Pulled", f'Container image "{container.image}" already present on machine')
                return present
            if policy == "Never":
                message = f'Container image "{container.image}" is not present with pull policy of Never'
                say.warning("ErrImageNeverPull", message)
                raise say.refused("ErrImageNeverPull", message)
            self._hold_back(say, pod, container)
            return await self._pull(say, pod, container, policy)
        except InvalidName as error:
            say.warning("InspectFailed", str(error))
            raise say.refused("InvalidImageName", str(error)) from error

    def forget(self, uid: str) -> None:
        """A pod is gone."""
        self._failures = {key: failure for key, failure in self._failures.items() if key[0] != uid}

    async def _present(self, reference: str) -> Image | None:
        try:
            return await self._images.ensure(reference, "Never")
        except ImageNotPresent:
            return None

    async def _check(self, say: "_Voice", pod: Pod, container: Container) -> None:
        """Whether the pod may have the image at all; a refusal is shown and repeated like a failed pull."""
        key = (pod.metadata.uid, container.image)
        if key in self._failures:
            self._hold_back(say, pod, container)
        try:
            await self._access.check(pod, container.image, self._credentials)
        except PullError as error:
            raise self._failed(say, key, error) from error

    def _failed(self, say: "_Voice", key: tuple[str, str], error: Exception) -> StartRefused:
        before = self._failures.get(key)
        seconds = min(before.seconds * 2, _LONGEST_SECONDS) if before else _FIRST_SECONDS
        self._failures[key] = _Failure(seconds, self._clock.now(), str(error))
        say.warning("Failed", f'Failed to pull image "{key[1]}": {error}')
        return say.refused("ErrImagePull", str(error), _SHOW_ERROR_SECONDS)

    def _hold_back(self, say: "_Voice", pod: Pod, container: Container) -> None:
        failure = self._failures.get((pod.metadata.uid, container.image))
        if failure is None:
            return
        left = failure.seconds - (self._clock.now() - failure.at).total_seconds()
        if left > 0:
            message = f'Back-off pulling image "{container.image}"'
            say.normal("BackOff", message)
            raise say.refused("ImagePullBackOff", f"{message}: ErrImagePull: {failure.message}", left)

    async def _pull(self, say: "_Voice", pod: Pod, container: Container, policy: Policy) -> Image:
        reference, began = container.image, self._clock.monotonic()
        say.normal("Pulling", f'Pulling image "{reference}"')
        key = (pod.metadata.uid, reference)
        try:
            image = await self._images.ensure(reference, policy, await self._credentials(pod))
        except (PullError, ImageNotPresent) as error:
            raise self._failed(say, key, error) from error
        self._failures.pop(key, None)
        took = f"{self._clock.monotonic() - began:.3f}s"
        size = f"Image size: {image.size_bytes} bytes."
        say.normal("Pulled", f'Successfully pulled image "{reference}" in {took} ({took} including waiting). {size}')
        return image

    async def _credentials(self, pod: Pod) -> tuple[Credential, ...]:
        """The logins of imagePullSecrets; one that cannot be read is reported and the others are used."""
        names = [reference.name for reference in pod.spec.image_pull_secrets]
        secrets = await self._lookup.secrets(pod.metadata.namespace, names)
        found: list[Credential] = []
        for name in names:
            problem = ""
            if name not in secrets:
                problem = "not found"
            else:
                try:
                    found += _parsed(secrets[name])
                except (BadCredentials, binascii.Error) as error:
                    problem = str(error)
            if problem:
                self._reports.warning(
                    pod,
                    "FailedToRetrieveImagePullSecret",
                    f"Unable to retrieve some image pull secrets ({name}); attempting to pull the image may not "
                    f"succeed. ({problem})",
                )
        return tuple(found)


class _Voice:
    """Speaks of one container."""

    def __init__(self, reports: Reports, pod: Pod, container: Container, *, init: bool) -> None:
        self._reports = reports
        self._pod = pod
        self._name = container.name
        self._init = init

    def normal(self, reason: str, message: str) -> None:
        self._reports.normal(self._pod, reason, message, container=self._name, init=self._init)

    def warning(self, reason: str, message: str) -> None:
        self._reports.warning(self._pod, reason, message, container=self._name, init=self._init)

    def refused(self, reason: str, message: str, retry_seconds: float = _FIRST_SECONDS) -> StartRefused:
        self.warning("Failed", f"Error: {reason}")
        return StartRefused(reason, message, retry_seconds)


def _parsed(secret: Secret) -> tuple[Credential, ...]:
    key = _KEYS.get(secret.type)
    if key is None or key not in secret.data:
        raise BadCredentials("its type must be kubernetes.io/dockerconfigjson")
    return parse_docker_config(base64.b64decode(secret.data[key]))
