"""What an App wishes of one environment, as a short text that is the same as long as the wishes are."""

from hashlib import sha256

import msgspec
from msgspec.structs import replace

from fairway.delivery.kinds.apps import App, environments

_LENGTH = 16


def wishes(app: App, environment: str) -> str:
    """A digest of everything in the App that a Release of this environment is made from; "" for one it has not.

    A change of the App is about the environments whose digest it changes: one that was rolled back, or that waits for
    a promotion, does not move because another one was changed.
    """
    one = next((one for one in environments(app) if one.name == environment), None)
    if one is None:
        return ""
    spec = app.spec
    asked = (
        replace(one, automatic=None),
        spec.runtime,
        replace(spec.deploy, on_failure="", paused=False),
        spec.registry.credentials_secret,
        spec.build.strategy,
        spec.source.path,
    )
    return sha256(msgspec.json.encode(asked, order="sorted")).hexdigest()[:_LENGTH]
