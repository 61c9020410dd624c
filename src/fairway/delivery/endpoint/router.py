"""Which part of the room answers a request."""

import re
from collections.abc import Awaitable, Callable

import msgspec

from fairway.toolkit.http_messages import Reply, Request, Response

Answer = Callable[[Request], Awaitable[Reply]]


class Route(msgspec.Struct, frozen=True):
    """Paths that match, who answers them, and for which methods the answerer reads the body itself, as it arrives."""

    path: re.Pattern[str]
    answer: Answer
    streamed: frozenset[str] = frozenset()


class Router:
    """The first route whose path matches answers; the paths are matched as sent, still percent-encoded."""

    def __init__(self, *routes: Route) -> None:
        self._routes = routes

    async def answer(self, request: Request) -> Reply:
        route = self._find(request.path)
        if route is None:
            return text(404, "there is nothing here; apps are at /<namespace>/<app>.git")
        return await route.answer(request)

    def streamed(self, method: str, target: str) -> bool:
        route = self._find(target.partition("?")[0])
        return route is not None and method in route.streamed

    def _find(self, path: str) -> Route | None:
        return next((route for route in self._routes if route.path.match(path)), None)


def text(status: int, message: str) -> Response:
    """A plain answer for people."""
    return Response(status, f"{message}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"),))
