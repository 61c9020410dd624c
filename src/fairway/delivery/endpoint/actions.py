"""What commands ask of the endpoint: the log of a run, a promotion."""

import re

import msgspec

from fairway.delivery.endpoint.router import text
from fairway.delivery.endpoint.story import FollowRun
from fairway.delivery.git.access import FETCH, PUSH, Caller, Doorkeeper, token_of
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.releases.objects import Place
from fairway.delivery.releases.repeat import promote
from fairway.delivery.releases.world import ReleaseRefused, ReleaseWorld
from fairway.kube.api.meta import ObjectKey
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit import logs
from fairway.toolkit.http_messages import Reply, Request, Response, Sink, Stream

_NAME = r"([a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)"
LOGS = re.compile(rf"/logs/{_NAME}/([a-z0-9](?:[-a-z0-9.]{{0,251}}[a-z0-9])?)\Z")
PROMOTIONS = re.compile(rf"/promotions/{_NAME}/{_NAME}\Z")
log = logs.get("delivery")
_BODY_BYTES_MAX = 4096
_CHALLENGE = ("WWW-Authenticate", 'Bearer realm="fairway"')


class Promotion(msgspec.Struct, frozen=True, rename={"source": "from"}):
    """Which environment's live version goes where."""

    source: str
    to: str


class Actions:
    """Answers for `/logs/` and `/promotions/`. Who may fetch an App's code may read its logs; who may push, promote."""

    def __init__(
        self, doorkeeper: Doorkeeper, runs: Cache[PipelineRun], follow_run: FollowRun, world: ReleaseWorld
    ) -> None:
        self._doorkeeper = doorkeeper
        self._runs = runs
        self._follow_run = follow_run
        self._world = world

    async def log(self, request: Request) -> Reply:
        """The lines of a run from its beginning to its end. Raises ApiError, Unreachable."""
        namespace, name = _matched(LOGS, request)
        run = self._runs.get(ObjectKey(namespace, name))
        app = ObjectKey(namespace, run.spec.app if run is not None else name)
        caller = await self._admitted(request, app, FETCH)
        if isinstance(caller, Response):
            return caller
        if run is None:
            return text(404, f"there is no run {namespace}/{name}")
        key = run.metadata.key

        async def stream(sink: Sink) -> None:
            async for line in self._follow_run(key):
                sink.write(f"{line}\n".encode())
                await sink.drain()

        return Stream(200, stream, (("Content-Type", "text/plain; charset=utf-8"), ("X-Accel-Buffering", "no")))

    async def promotion(self, request: Request) -> Reply:
        """Create the Release and name it. Raises ApiError, Unreachable."""
        namespace, name = _matched(PROMOTIONS, request)
        caller = await self._admitted(request, ObjectKey(namespace, name), PUSH)
        if isinstance(caller, Response):
            return caller
        if request.method != "POST" or len(request.body) > _BODY_BYTES_MAX:
            return text(405, "a promotion is a POST with from and to")
        try:
            wish = msgspec.json.decode(request.body, type=Promotion)
            person = await self._doorkeeper.person(caller, ObjectKey(namespace, name))
            made = await promote(self._world, Place(namespace, name, wish.source), wish.to, actor=person[:200])
        except msgspec.DecodeError as error:
            return text(400, f"the body is not a promotion: {error}")
        except ReleaseRefused as error:
            return text(422, str(error))
        log.info("promoted", app=f"{namespace}/{name}", release=made, to=wish.to)
        return text(200, made)

    async def _admitted(self, request: Request, app: ObjectKey, verb: str) -> Caller | Response:
        caller = await self._doorkeeper.caller(token_of(request.header("authorization")))
        if caller is None:
            return Response(401, b"a token is needed\n", (_CHALLENGE,))
        if not await self._doorkeeper.may(caller, app, verb):
            return text(403, f"{caller.username} may not {verb} apps/git {app}")
        return caller


def _matched(pattern: re.Pattern[str], request: Request) -> tuple[str, str]:
    found = pattern.match(request.path)
    assert found is not None  # the router asked the same pattern
    return found[1], found[2]
