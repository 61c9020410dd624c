"""Read what an App's environments run on now."""

import base64

from fairway.delivery.export.render import Exported
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.resources import APPS
from fairway.delivery.releases.create import releases_of
from fairway.delivery.releases.freeze import SECRET_NAMES
from fairway.delivery.releases.objects import Place
from fairway.kube.api.config import Secret
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound


async def exported(client: ApiClient, key: ObjectKey, *, with_secrets: bool = False) -> tuple[Exported, ...]:
    """Each environment that something is live in, in order of promotion. Raises NotFound, ApiError, Unreachable.

    Values that came from Secrets are only told `with_secrets`.
    """
    app = decode(App, await client.get(APPS, key.name, key.namespace))
    found = []
    for environment in environments(app):
        place = Place(key.namespace, key.name, environment.name)
        live = next((one for one in reversed(await releases_of(client, place)) if one.status.phase == "Live"), None)
        if live is not None:
            found.append(await _exported(client, live, with_secrets))
    return tuple(found)


async def _exported(client: ApiClient, release: Release, with_secrets: bool) -> Exported:
    spec = release.spec
    variables, hidden = await _variables(client, release, with_secrets)
    return Exported(spec.app, spec.environment, spec.manifests, spec.image, spec.configuration, variables, hidden)


async def _variables(client: ApiClient, release: Release, with_secrets: bool) -> tuple[dict[str, str], tuple[str, ...]]:
    """Values by name, and the names of those that are left out."""
    if not release.spec.configuration:
        return {}, ()
    try:
        raw = await client.get(SECRETS, release.spec.configuration, release.metadata.namespace)
    except NotFound:
        return {}, ()
    frozen = decode(Secret, raw)
    secret = set(frozen.metadata.annotations.get(SECRET_NAMES, "").split(","))
    left_out = tuple(sorted(name for name in frozen.data if name in secret and not with_secrets))
    shown = {
        name: base64.b64decode(value).decode("utf-8", "replace")
        for name, value in sorted(frozen.data.items())
        if name not in left_out
    }
    return shown, left_out
