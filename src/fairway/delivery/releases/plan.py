"""What to do next in one place, told from its Releases alone."""

import msgspec

from fairway.delivery.kinds.releases import ENDED, Release

POLICY = "policy"
"""The actor of Releases that nobody asked for: those that go back by themselves."""
REFUSED = "Refused"
"""The reason of a Release that failed before it changed anything."""


class Row(msgspec.Struct, frozen=True):
    """The Releases of one place, by number; at least one."""

    releases: tuple[Release, ...]

    @property
    def newest(self) -> Release:
        return self.releases[-1]

    @property
    def current(self) -> Release | None:
        """The one whose objects are, or are to be, in the cluster: the newest that was not refused."""
        return next((one for one in reversed(self.releases) if not refused(one)), None)

    @property
    def live(self) -> Release | None:
        return next((one for one in reversed(self.releases) if one.status.phase == "Live"), None)

    @property
    def overtaken(self) -> tuple[Release, ...]:
        """Those that a newer one came before they were done, and those that were live before the live one."""
        live = self.live
        older = self.releases[:-1]
        unfinished = (one for one in older if one.status.phase not in ENDED)
        served = (one for one in older if one.status.phase == "Live" and one is not live)
        return (*unfinished, *served)

    @property
    def target(self) -> Release | None:
        """The Release to go back to, when the newest one failed and its policy says so.

        A Release of the policy that fails itself is the end: going back and forth would never stop.
        """
        newest = self.newest
        if newest.status.phase != "Failed" or refused(newest) or newest.spec.on_failure != "rollback":
            return None
        return None if newest.spec.actor == POLICY else self.live

    @property
    def unmarked(self) -> tuple[tuple[Release, Release], ...]:
        """Failed Releases that do not yet say which one took their place, with that one."""
        pairs = zip(self.releases, self.releases[1:], strict=False)
        return tuple(
            (failed, after)
            for failed, after in pairs
            if failed.status.phase == "Failed" and after.spec.actor == POLICY and not failed.status.rolled_back_to
        )

    def beyond(self, keep: int) -> tuple[Release, ...]:
        """Those that need not be retained: all but the newest `keep`, what is live, and what that one repeats."""
        live = self.live
        precious = {live.metadata.name, live.spec.of} if live is not None else set()
        old = self.releases[: -max(keep, 1)]
        return tuple(one for one in old if one.metadata.name not in precious and one.status.phase in ENDED)


def refused(release: Release) -> bool:
    return release.status.phase == "Failed" and release.status.reason == REFUSED
