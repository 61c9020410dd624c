"""Smart HTTP for git: `/<namespace>/<app>.git/{info/refs,git-upload-pack,git-receive-pack}` (gitprotocol-http)."""

import asyncio
import re
from urllib.parse import parse_qs, unquote

import msgspec

from fairway.delivery.git import access, body, packets
from fairway.delivery.git.access import FETCH, PUSH, Caller, Doorkeeper
from fairway.delivery.git.errors import GitFailed, SourceError, disk_text, is_full
from fairway.delivery.git.process import Git
from fairway.delivery.git.push import Push, Pushed, Target
from fairway.delivery.git.repositories import Repositories
from fairway.delivery.git.turns import Turns
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.resources import APPS
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.noun import decode
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import ApiError, NotFound, Unreachable
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_incoming import BodyLost
from fairway.toolkit.http_messages import Headers, Reply, Request, Response, Sink, Stream

log = logs.get("delivery")

_PATH = re.compile(
    r"/(?P<namespace>[a-z0-9][-a-z0-9]{0,62})/(?P<app>[a-z0-9][-a-z0-9.]{0,252})\.git"
    r"/(?P<what>info/refs|git-upload-pack|git-receive-pack)"
)
_SERVICES = {"git-upload-pack": FETCH, "git-receive-pack": PUSH}
_PROTOCOL = re.compile(r"[a-z0-9=:.-]{1,64}")
_FETCH_BYTES_MAX = 4 << 20
_REFS_BYTES_MAX = 32 << 20
_PIECES_HEADERS = (("Cache-Control", "no-cache, max-age=0, must-revalidate"),)
_CHALLENGE = ("WWW-Authenticate", 'Basic realm="fairway git", charset="UTF-8"')
_PLAIN = ("Content-Type", "text/plain; charset=utf-8")


class Refused(Exception):
    """An answer instead of what was asked for; git shows its text to the user."""

    def __init__(self, status: int, text: str, headers: Headers = ()) -> None:
        super().__init__(text)
        self.response = Response(status, f"{text}\n".encode(), (*headers, _PLAIN))


class Wanted(msgspec.Struct, frozen=True):
    """What a request asks for: a service of an App's repository, or the list of refs for it."""

    key: ObjectKey
    service: str
    advertises: bool


class GitEndpoint:
    """One handler for the built-in repositories. `pushed` follows a commit of the deployed branch, for the terminal."""

    def __init__(self, repositories: Repositories, client: ApiClient, clock: Clock, pushed: Pushed) -> None:
        self._repositories = repositories
        self._client = client
        self._doorkeeper = Doorkeeper(client, clock)
        self._pushed = pushed
        self._transfers = Git(repositories.root, repositories.limits)
        self._turns = Turns(repositories.limits)
        self._pushes: set[asyncio.Task[None]] = set()

    @staticmethod
    def streamed(method: str, path: str) -> bool:
        """Whether `answer` reads the body of such a request itself."""
        return method == "POST" and path.endswith(("/git-upload-pack", "/git-receive-pack"))

    @staticmethod
    def handles(path: str) -> bool:
        """Whether a path belongs to this endpoint."""
        return _PATH.fullmatch(unquote(path)) is not None

    async def answer(self, request: Request) -> Reply:
        """One request. What git's user can do something about is told in the answer's text."""
        try:
            wanted = _wanted(request)
            caller = await self._admit(request, wanted)
            app = await self._app(wanted)
            return await self._serve(request, wanted, app, caller)
        except Refused as refused:
            return refused.response
        except SourceError as error:
            return Refused(400, str(error)).response
        except GitFailed as error:
            log.warning("could not answer", path=request.path, error=error)
            return Refused(500, "the repository cannot be read now").response
        except (ApiError, Unreachable) as error:
            log.warning("could not ask the API", path=request.path, error=error)
            return Refused(503, "the cluster's API does not answer; try again", (("Retry-After", "5"),)).response
        except OSError as error:
            log.error("could not use a repository", path=request.path, error=error)
            return Refused(507 if is_full(error) else 500, disk_text(error, "git repositories")).response

    async def aclose(self) -> None:
        """End what runs; what was received stays."""
        for task in self._pushes:
            task.cancel()
        await asyncio.gather(*self._pushes, return_exceptions=True)

    async def _admit(self, request: Request, wanted: Wanted) -> Caller:
        """Who may not see an App is told the same whether it is there or not."""
        token, verb = access.token_of(request.header("authorization")), _SERVICES[wanted.service]
        if known := self._doorkeeper.remembered(token, wanted.key, verb):
            return known
        caller = await self._doorkeeper.caller(token)
        if caller is None:
            what = "the token is not valid" if token else "a token is needed"
            raise Refused(401, f"{what}: fairway git-credential gives git one", (_CHALLENGE,))
        if not await self._doorkeeper.may(caller, wanted.key, verb):
            needs = f'"{verb}" on apps/git in group fairway.dev'
            raise Refused(403, f"{caller.username} has no such right on {wanted.key}: a Role must allow {needs}")
        self._doorkeeper.remember(token, wanted.key, verb, caller)
        return caller

    async def _app(self, wanted: Wanted) -> App:
        key = wanted.key
        try:
            app = decode(App, await self._client.get(APPS, key.name, key.namespace))
        except NotFound:
            how = f"fairway app create {key.name} --namespace {key.namespace}"
            raise Refused(404, f"there is no App {key}; create it first: {how}") from None
        if app.spec.source.repository:
            where = f"push to {app.spec.source.repository} instead"
            raise Refused(403, f"the App {key} takes its commits from elsewhere: {where}")
        return app

    async def _serve(self, request: Request, wanted: Wanted, app: App, caller: Caller) -> Reply:
        repository = await self._repositories.ensure(wanted.key)
        if wanted.advertises:
            await self._repositories.set_default_branch(wanted.key, app.spec.source.branch)
            return await self._advertise(request, wanted, app)
        if request.header("content-type") != f"application/x-{wanted.service}-request":
            raise Refused(415, f"the body must be application/x-{wanted.service}-request")
        if refusal := self._turns.refusal(wanted.key):
            raise Refused(503, refusal, (("Retry-After", "10"),))
        if wanted.service == "git-upload-pack":
            return await self._upload(request, wanted)
        person = await self._doorkeeper.person(caller, wanted.key)
        return await self._receive(request, Target(wanted.key, repository, app.spec.source.branch, person))

    async def _advertise(self, request: Request, wanted: Wanted, app: App) -> Reply:
        command = wanted.service.removeprefix("git-")
        protocol = _protocol(request) if command == "upload-pack" else {}
        refs = await self._repositories.git.output(
            (command, "--http-backend-info-refs", "."),
            self._repositories.path(wanted.key),
            environment=protocol,
            bytes_max=_REFS_BYTES_MAX,
        )
        start = b"" if "version=2" in protocol.get("GIT_PROTOCOL", "") else _announcement(wanted.service)
        return Response(200, start + refs, _headers(wanted.service, "advertisement"))

    async def _upload(self, request: Request, wanted: Wanted) -> Reply:
        try:
            question = await body.whole(request, self._repositories.limits, _FETCH_BYTES_MAX)
        except body.BodyRefused as refused:
            raise Refused(408 if isinstance(refused, body.TooSlow) else 413, str(refused)) from None
        except BodyLost:
            raise Refused(400, "the request broke off") from None
        repository, protocol = self._repositories.path(wanted.key), _protocol(request)

        async def run(sink: Sink) -> None:
            seconds = self._repositories.limits.transfer_timeout_seconds
            arguments = ("upload-pack", "--stateless-rpc", "--strict", ".")
            self._turns.enter(wanted.key)
            try:
                async with (
                    self._turns.process(wanted.key),
                    self._transfers.start(
                        arguments, repository, environment=protocol, timeout_seconds=seconds
                    ) as child,
                ):
                    await child.write(question)
                    child.stdin.close()
                    async for piece in child.pieces():
                        sink.write(piece)
                        await sink.drain()
                    await child.end()
            except (GitFailed, OSError) as error:
                # git has told the client why, or the checksum at the end of a pack is missing and does
                log.warning("could not send a repository", app=wanted.key, error=error)
            finally:
                self._turns.leave(wanted.key)

        return Stream(200, run, _headers(wanted.service, "result"))

    async def _receive(self, request: Request, target: Target) -> Reply:
        push = Push(self._transfers, self._turns, target, request, self._pushed)
        task = asyncio.create_task(self._run(push))
        self._pushes.add(task)
        task.add_done_callback(self._pushes.discard)
        self._turns.enter(target.key)
        try:
            await push.received.wait()
        except asyncio.CancelledError:
            task.cancel()  # the client went away in the middle of its push: there is nothing to keep
            raise
        finally:
            self._turns.leave(target.key)
        if push.problem:
            raise Refused(408 if push.was_slow else 400, push.problem)
        return Stream(200, push.relay.run, _headers("git-receive-pack", "result"))

    async def _run(self, push: Push) -> None:
        try:
            await push.run()
        except Exception as error:  # the place for what nobody foresaw: the task has no other
            log.error("failed to take a push", error=repr(error))


def _wanted(request: Request) -> Wanted:
    found = _PATH.fullmatch(unquote(request.path))
    if found is None:
        raise Refused(404, "there is nothing here; a repository is at /<namespace>/<app>.git")
    key, what = ObjectKey(found["namespace"], found["app"]), found["what"]
    if what != "info/refs":
        if request.method != "POST":
            raise Refused(405, f"{what} wants POST", (("Allow", "POST"),))
        return Wanted(key, what, advertises=False)
    if request.method not in ("GET", "HEAD"):
        raise Refused(405, "info/refs wants GET", (("Allow", "GET, HEAD"),))
    service = parse_qs(request.query).get("service", [""])[0]
    if service not in _SERVICES:
        raise Refused(403, "only smart HTTP is spoken here; use git 1.6.6 or newer")
    return Wanted(key, service, advertises=True)


def _protocol(request: Request) -> dict[str, str]:
    """The protocol's version that the client asks for, as git's environment has it."""
    value = request.header("git-protocol")
    return {"GIT_PROTOCOL": value} if _PROTOCOL.fullmatch(value) else {}


def _announcement(service: str) -> bytes:
    return packets.packet(f"# service={service}\n".encode()) + packets.FLUSH


def _headers(service: str, what: str) -> Headers:
    return (("Content-Type", f"application/x-{service}-{what}"), *_PIECES_HEADERS)
