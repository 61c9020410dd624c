"""Where an App's webhooks are: kept on the App itself, so that a repository that it leaves is still known."""

import msgspec
from msgspec.structs import replace

from fairway.delivery.kinds.apps import App, Source

ANNOTATION = "fairway.dev/webhooks"
_PLACES_MAX = 5


class Spot(msgspec.Struct, frozen=True, omit_defaults=True):
    """One repository at one forge, and which Secrets open it; never what is in them."""

    repository: str
    provider: str = ""
    api_url: str = ""
    credentials_secret: str = ""
    ca_secret: str = ""

    def same(self, other: "Spot") -> bool:
        """Whether both are one repository; the Secrets for it may change."""
        mine, theirs = (self.repository, self.provider, self.api_url), (other.repository, other.provider, other.api_url)
        return mine == theirs


def present(app: App) -> Spot:
    """Where the App's code comes from now."""
    source = app.spec.source
    return Spot(source.repository, source.provider, source.api_url, source.credentials_secret, source.ca_secret)


def noted(app: App) -> tuple[Spot, ...]:
    """Where a webhook of ours is, or may be. What somebody else wrote there counts for nothing."""
    try:
        return msgspec.json.decode(app.metadata.annotations.get(ANNOTATION, "[]"), type=tuple[Spot, ...])
    except msgspec.DecodeError:
        return ()


def left(app: App) -> tuple[Spot, ...]:
    """The places that the App has left; all of them when it wants no webhook any more."""
    source, now = app.spec.source, present(app)
    wanted = bool(source.repository) and source.webhook and app.metadata.deletion_timestamp is None
    return tuple(one for one in noted(app) if not wanted or not one.same(now))


def with_present(app: App) -> tuple[Spot, ...]:
    """What is to be noted before a webhook is made where the code comes from now."""
    now = present(app)
    return (*(one for one in noted(app) if not one.same(now)), now)[-_PLACES_MAX:]


def at(app: App, spot: Spot) -> App:
    """The App as it was when its code came from there, for whoever connects to that forge."""
    source = Source(
        repository=spot.repository,
        provider=spot.provider,
        api_url=spot.api_url,
        credentials_secret=spot.credentials_secret,
        ca_secret=spot.ca_secret,
    )
    return replace(app, spec=replace(app.spec, source=source))


def text(spots: tuple[Spot, ...]) -> str | None:
    """The annotation; None when there is nothing to note."""
    return msgspec.json.encode(spots).decode() if spots else None
