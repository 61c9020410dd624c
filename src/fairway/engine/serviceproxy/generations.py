"""What two writers in one network namespace know of each other's writes.

The kernel numbers the changes of all rulesets together.  Without this each would take the other for somebody foreign,
and read back its whole table after every change of the other.
"""

from fairway.toolkit.netlink_conntrack import Netfilter


class Watch:
    """One writer's point of view: up to which number it knows every change."""

    def __init__(self, generations: "Generations", netfilter: Netfilter) -> None:
        self._generations = generations
        self._netfilter = netfilter
        self.seen = -1

    def now(self) -> int:
        """The number now: one message to the kernel, whatever the size of the rulesets."""
        return self._netfilter.rules_generation()

    def untouched(self) -> bool:
        """Whether there was no change that this writer does not know of."""
        return self.now() == self.seen

    def committed(self, before: int) -> None:
        """This writer changed its own table once since `before`; what came in between stays unknown."""
        if self.now() == before + 1:
            self._generations.passed(before)

    def end(self) -> None:
        """This writer writes no more."""
        self._generations.leave(self)


class Generations:
    """The writers of one network namespace."""

    def __init__(self) -> None:
        self._watches: list[Watch] = []

    def watch(self, netfilter: Netfilter) -> Watch:
        """A point of view for one more writer."""
        self._watches.append(Watch(self, netfilter))
        return self._watches[-1]

    def passed(self, before: int) -> None:
        """The change after `before` was one of ours: it touched nobody else's table."""
        for watch in self._watches:
            if watch.seen == before:
                watch.seen = before + 1

    def leave(self, watch: Watch) -> None:
        self._watches.remove(watch)
