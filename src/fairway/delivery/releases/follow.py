"""A Release as lines for a terminal, from its beginning to its verdict."""

from collections.abc import AsyncIterator

from fairway.delivery.git.errors import printable
from fairway.delivery.kinds.releases import ENDED, Diagnosis, Release
from fairway.delivery.kinds.resources import RELEASES
from fairway.delivery.releases.objects import hosts_of
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import Gone, Unreachable
from fairway.toolkit.clock import Clock

HEADING = "-----> "
INDENT = "       "
_LOOK_AGAIN_SECONDS = 0.2


async def follow_release(
    client: ApiClient, clock: Clock, key: ObjectKey, *, url_suffix: str = ""
) -> AsyncIterator[str]:
    """Lines without newlines, until the Release has ended or is gone.

    `url_suffix` is the port that people need in a URL, such as ":8443". Raises ApiError.
    """
    said: str | None = None
    async for release in _states(client, clock, key):
        if release is None:
            yield f"{HEADING}{key.name} is gone"
            return
        if said is None:
            said = ""
            yield f"{HEADING}Releasing v{release.spec.number} to {release.spec.environment}"
        if release.status.phase in ENDED:
            for line in verdict(release, url_suffix):
                yield line
            return
        if release.status.message not in ("", said):
            said = release.status.message
            yield INDENT + printable(said)


def verdict(release: Release, url_suffix: str = "") -> tuple[str, ...]:
    """What there is to say at the end."""
    version, phase = f"v{release.spec.number}", release.status.phase
    if phase == "Failed":
        return (f"{HEADING}{version} failed: {printable(release.status.message)}", *explained(release.status.diagnosis))
    if phase == "Superseded" and not any(one.type == "Live" for one in release.status.conditions):
        return (f"{HEADING}{version} was overtaken: {printable(release.status.message)}",)
    urls = [f"https://{host}{url_suffix}" for host in hosts_of(release.spec.manifests) if not host.startswith("*.")]
    if not urls:
        return (f"{HEADING}{version} is live in {release.spec.environment}; it has no domain",)
    late = remark(release)
    told = (f"{INDENT}the edge has not taken it yet: {printable(late)}",) if late else ()
    return (*(f"{HEADING}{url} is live ({version})" for url in urls), *told)


def remark(release: Release) -> str:
    """Why people may not have got to a live Release when it was said to be live; "" when they did."""
    return next((one.message for one in release.status.conditions if one.type == "Live"), "")


def explained(diagnosis: Diagnosis | None) -> tuple[str, ...]:
    """A diagnosis, indented below its heading."""
    if diagnosis is None:
        return ()
    facts = (("pod", diagnosis.pod), ("container", diagnosis.container), ("probe", diagnosis.probe))
    lines = [f"{name + ':':<11}{text}" for name, text in facts if text]
    if diagnosis.log:
        lines += ["log:", *(f"  {line}" for line in diagnosis.log.splitlines())]
    return tuple(
        INDENT + printable(line) if line.strip() == line else INDENT + "  " + printable(line) for line in lines
    )


async def _states(client: ApiClient, clock: Clock, key: ObjectKey) -> AsyncIterator[Release | None]:
    """The Release as it is and as it becomes; None when there is none any more."""
    fields = f"metadata.name={key.name}"
    while True:
        try:
            page = await client.list(RELEASES, key.namespace, fields=fields)
            if not page.items:
                yield None
                return
            yield decode(Release, page.items[0])
            revision = page.resource_version
            async for event in client.watch(RELEASES, key.namespace, resource_version=revision, fields=fields):
                if event.type == "DELETED":
                    yield None
                    return
                if event.type != "BOOKMARK":
                    yield decode(Release, event.object)
        except (Gone, Unreachable):
            await clock.sleep(_LOOK_AGAIN_SECONDS)
