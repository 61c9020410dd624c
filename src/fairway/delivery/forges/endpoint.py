"""Where forges tell of pushes: POST /hooks/<namespace>/<app>/<unguessable>."""

import hmac
import re
from collections.abc import Callable

from fairway.delivery.forges import secret, verify
from fairway.delivery.forges.events import event, identity, ignored
from fairway.delivery.forges.seen import Seen
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.runs import Trigger
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Request, Response

_NAME = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
HOOKS = re.compile(rf"/hooks/({_NAME})/({_NAME})/([A-Za-z0-9_-]{{16,128}})\Z")
_BODY_BYTES_MAX = 2 << 20
_NOBODY = b"0" * 32
log = logs.get("delivery")

Wake = Callable[[ObjectKey, Trigger], None]


class Receiver:
    """Checks deliveries and wakes Apps. Bodies are neither stored nor logged: Gitee's hold the password."""

    def __init__(
        self,
        client: ApiClient,
        clock: Clock,
        apps: Cache[App],
        wake: Wake,
        skew_seconds: float = verify.SKEW_SECONDS,
    ) -> None:
        self._client = client
        self._clock = clock
        self._apps = apps
        self._wake = wake
        self._skew_seconds = skew_seconds
        self._seen = Seen()

    async def answer(self, request: Request) -> Response:
        """202 when the branch is looked at, 200 when nothing comes of it. Raises ApiError, Unreachable."""
        found = HOOKS.match(request.path)
        if found is None:
            return _text(404, "there is no such webhook")
        if request.method != "POST":
            return Response(405, b"webhooks are POSTs\n", (("Allow", "POST"),))
        if len(request.body) > _BODY_BYTES_MAX:
            return _text(413, f"a delivery has at most {_BODY_BYTES_MAX} bytes")
        key = ObjectKey(found[1], found[2])
        app = self._apps.get(key)
        known = await secret.read(self._client, key) if app is not None and app.spec.source.repository else None
        path = known.path.encode() if known else _NOBODY
        if not hmac.compare_digest(found[3].encode(), path) or known is None or app is None:
            return _text(404, "there is no such webhook")
        delivery = verify.Delivery(request.headers, request.body)
        if problem := verify.problem(delivery, known.secret, self._clock.now().timestamp(), self._skew_seconds):
            log.warning("webhook", app=key, forge=verify.forge_of(delivery), refused=problem)
            return _text(401, f"refused: {problem}")
        return self._take(app, delivery)

    def _take(self, app: App, delivery: verify.Delivery) -> Response:
        key, seen = app.metadata.key, event(delivery)
        if seen is None:
            return _text(400, "the body is not a JSON object; choose application/json at the forge")
        if not self._seen.add(key, identity(delivery)):
            return _text(200, "this delivery was taken before")
        bound = app.status.repository_id
        if bound and seen.repository_id and seen.repository_id != bound:
            return _text(200, "ignored: it is of another repository")
        if reason := ignored(seen, app.spec.source.branch):
            return _text(200, f"ignored: {reason}")
        log.info("webhook", app=key, forge=verify.forge_of(delivery), delivery=seen.id, actor=seen.actor)
        self._wake(key, Trigger(kind="webhook", delivery=seen.id, actor=seen.actor))
        return _text(202, "taken")


def _text(status: int, message: str) -> Response:
    return Response(status, f"{message}\n".encode(), (("Content-Type", "text/plain; charset=utf-8"),))
