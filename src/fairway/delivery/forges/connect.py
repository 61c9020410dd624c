"""The forge of an App, ready to be asked."""

from fairway.delivery.forges import credentials
from fairway.delivery.forges.calls import Api
from fairway.delivery.forges.forge import Forge
from fairway.delivery.forges.gitcode import GitCode
from fairway.delivery.forges.gitea import Gitea
from fairway.delivery.forges.gitee import Gitee
from fairway.delivery.forges.github import GitHub
from fairway.delivery.forges.gitlab import GitLab
from fairway.delivery.forges.providers import Place, place_of
from fairway.delivery.git.guard import Allowed
from fairway.delivery.kinds.apps import App
from fairway.kube.client.client import ApiClient

_USUAL = Allowed()
_PRIVATE_TOKEN = ("gitlab", "gitcode")
"""They take a personal token in a header of this name."""


async def connect(client: ApiClient, app: App, allowed: Allowed) -> Forge | None:
    """None when it has no API that we know, or no token is given. Raises SourceError, ApiError, Unreachable."""
    place = place_of(app.spec.source)
    login = await credentials.login(client, app) if place is not None else None
    if place is None or login is None:
        return None
    authority = await credentials.authority(client, app)
    return forge(place, login.password, allowed, authority)


def forge(place: Place, token: str, allowed: Allowed = _USUAL, authority: str = "") -> Forge:
    """The client for a place."""
    header = ("PRIVATE-TOKEN", token) if place.provider in _PRIVATE_TOKEN else ("Authorization", f"token {token}")
    api = Api(place.api_url, (header,), allowed, authority)
    match place.provider:
        case "gitee":
            return Gitee(api, place.path)
        case "gitcode":
            return GitCode(api, place.path)
        case "github":
            return GitHub(api, place.path)
        case "gitlab":
            return GitLab(api, place.path)
    return Gitea(api, place.path, place.provider)
