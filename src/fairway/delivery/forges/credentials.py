"""What an App's Secrets say for its forge: the login, and the authority that its certificate is from."""

from fairway.delivery.git.errors import SourceError
from fairway.delivery.git.fetch import Login
from fairway.delivery.kinds.apps import App
from fairway.kube.api.config import Secret
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound

_ANYBODY = "oauth2"
"""The user name that goes with a token; forges take any."""


async def login(client: ApiClient, app: App) -> Login | None:
    """The credentials for the repository. Raises SourceError that names the Secret and what it lacks."""
    name = app.spec.source.credentials_secret
    if not name:
        return None
    found = await _secret(client, app, name, "spec.source.credentialsSecret", "token")
    token = found.value("token").decode(errors="replace").strip()
    return Login(username=found.value("username").decode(errors="replace").strip() or _ANYBODY, password=token)


async def authority(client: ApiClient, app: App) -> str:
    """The PEM certificates to trust for this forge; empty without any. Raises SourceError."""
    name = app.spec.source.ca_secret
    if not name:
        return ""
    found = await _secret(client, app, name, "spec.source.caSecret", "ca.crt")
    return found.value("ca.crt").decode("ascii", errors="replace")


async def _secret(client: ApiClient, app: App, name: str, field: str, key: str) -> Secret:
    try:
        found = decode(Secret, await client.get(SECRETS, name, app.metadata.namespace))
    except NotFound:
        raise SourceError(f"{field}: there is no Secret {name}; create it with the key {key}") from None
    if not found.value(key).strip():
        raise SourceError(f"{field}: Secret {name} has no key {key}")
    return found


def key_of_secret(app: ObjectKey) -> ObjectKey:
    """The Secret with the App's webhook secret."""
    return ObjectKey(app.namespace, f"{app.name}-webhook")
