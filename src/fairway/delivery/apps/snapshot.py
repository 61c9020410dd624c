"""What is known of one App at one moment."""

from collections.abc import Mapping

import msgspec

from fairway.delivery.kinds.apps import App, Environment, environments
from fairway.delivery.kinds.releases import Release
from fairway.delivery.kinds.runs import PipelineRun


class Head(msgspec.Struct, frozen=True):
    """The newest commit of the App's branch; `problem` is why there is none, for people."""

    commit: str = ""
    subject: str = ""
    problem: str = ""
    unchanged: bool = False
    """The folders that the App is made from are as they were in the newest run's commit."""


class Hook(msgspec.Struct, frozen=True):
    """How it stands with the webhook: a condition's status, reason and message, its id, and the repository's id."""

    status: str
    reason: str
    message: str
    id: str = ""
    repository_id: str = ""


class Snapshot(msgspec.Struct, frozen=True):
    """One App with its runs and Releases (each sorted by number), its branch's head and its domains.

    `refused` maps hosts that it does not get to the reason.
    """

    app: App
    head: Head = Head()
    runs: tuple[PipelineRun, ...] = ()
    releases: tuple[Release, ...] = ()
    held: tuple[str, ...] = ()
    refused: Mapping[str, str] = {}
    hook: Hook | None = None
    """None while nothing is known."""

    @property
    def environments(self) -> tuple[Environment, ...]:
        """Those of the App, with no domain that it does not hold."""
        held = frozenset(self.held)
        every = environments(self.app)
        return tuple(
            msgspec.structs.replace(one, domains=tuple(host for host in one.domains if host in held)) for one in every
        )

    def newest_release(self, environment: str) -> Release | None:
        return next((one for one in reversed(self.releases) if one.spec.environment == environment), None)

    def live_release(self, environment: str) -> Release | None:
        mine = (one for one in reversed(self.releases) if one.spec.environment == environment)
        return next((one for one in mine if one.status.phase == "Live"), None)
