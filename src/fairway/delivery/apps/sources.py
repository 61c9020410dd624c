"""What the branch of an App has now: read from the built-in repository, or fetched from where it lives."""

from fairway.delivery.apps.snapshot import Head
from fairway.delivery.forges import credentials
from fairway.delivery.git.errors import SourceError
from fairway.delivery.git.repositories import Repositories
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.runs import PipelineRun
from fairway.kube.api.meta import ObjectKey
from fairway.kube.client.client import ApiClient
from fairway.toolkit.clock import Clock

_LEFTOVER_LOOK_SECONDS = 5.0
_LEFTOVERS_SECONDS = 12.0


class Sources:
    """Looks at branches. Foreign repositories are fetched no more often than asked or told."""

    def __init__(self, client: ApiClient, repositories: Repositories, clock: Clock) -> None:
        self._client = client
        self._repositories = repositories
        self._clock = clock
        self._leftovers_until = clock.monotonic() + _LEFTOVERS_SECONDS
        self._looked: dict[ObjectKey, tuple[str, float]] = {}
        self._branches: dict[ObjectKey, str] = {}

    def stale(self, key: ObjectKey) -> None:
        """Somebody says that there is something new."""
        self._looked.pop(key, None)

    async def forget(self, key: ObjectKey) -> None:
        """The App is gone; its repository is put aside (git/repositories.py says for how long). Raises OSError."""
        self._looked.pop(key, None)
        self._branches.pop(key, None)
        await self._repositories.remove(key)

    async def head(self, app: App, newest: PipelineRun | None = None) -> Head:
        """The head and whether it matters to the App, or the problem that hides it.

        Raises OSError, ApiError, Unreachable.
        """
        key, source = app.metadata.key, app.spec.source
        try:
            await self._repositories.ensure(key)
            if source.repository:
                await self._fetch(app)
            elif self._branches.get(key) != source.branch:
                await self._repositories.set_default_branch(key, source.branch)
                self._branches[key] = source.branch
            commit = await self._repositories.head(key, source.branch)
            subject = await self._repositories.subject(key, commit) if commit else ""
        except SourceError as error:
            return Head(problem=str(error))
        unchanged = newest is not None and bool(commit) and await self._unchanged(app, newest.spec.commit, commit or "")
        return Head(commit or "", subject, unchanged=unchanged)

    def again_seconds(self, app: App) -> float | None:
        """When to look again by ourselves: a lost webhook must not lose a commit.

        Nor a push that outlived the process that took it: its git may move the branch after the next one has looked.
        """
        if app.spec.source.repository:
            return float(app.spec.source.poll_seconds)
        return _LEFTOVER_LOOK_SECONDS if self._clock.monotonic() < self._leftovers_until else None

    async def _unchanged(self, app: App, old: str, new: str) -> bool:
        """An App in a folder of a larger repository only cares about that folder, and the one with its manifests."""
        spec = app.spec
        watched = {spec.source.path.strip("/")}
        watched |= {spec.deploy.path.strip("/")} if spec.deploy.mode != "generated" else set()
        if old == new or "" in watched:
            return False
        try:
            return all([await self._id(app, old, path) == await self._id(app, new, path) for path in sorted(watched)])
        except SourceError:
            return False  # the older commit is no longer there

    async def _id(self, app: App, commit: str, path: str) -> str:
        """The id of what is at a path; the same id is the same content. Raises SourceError when there is nothing."""
        folder, _, name = path.rpartition("/")
        for entry in await self._repositories.entries(app.metadata.key, commit, folder):
            if entry.name == name:
                return entry.id
        raise SourceError(f"there is no {path}")

    async def _fetch(self, app: App) -> None:
        key, source = app.metadata.key, app.spec.source
        wanted, now = f"{source.repository} {source.branch}", self._clock.monotonic()
        seen, due = self._looked.get(key, ("", 0.0))
        if seen == wanted and now < due:
            return
        authority = await credentials.authority(self._client, app)
        login = await credentials.login(self._client, app)
        await self._repositories.fetch(key, source.repository, source.branch, login, authority=authority)
        self._looked[key] = (wanted, now + source.poll_seconds * 0.9)
