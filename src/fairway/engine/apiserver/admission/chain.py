"""The order of admission."""

from collections.abc import Callable, Sequence

from fairway.engine.apiserver.admission import ingress_classes, namespaces
from fairway.engine.apiserver.admission.review import Review

Plugin = Callable[[Review], None]
"""Changes the object in place, or raises ApiError to refuse it. Webhooks would need an awaitable twin of `admit`."""

PLUGINS: tuple[Plugin, ...] = (namespaces.admit, ingress_classes.admit)


def admit(review: Review, plugins: Sequence[Plugin] = PLUGINS) -> None:
    """Ask every plugin. Raises ApiError."""
    for plugin in plugins:
        plugin(review)
