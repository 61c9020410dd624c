"""Where new pods wait until the policies that select them are in force: no container runs before.

The kubelet knows a pod's address before the API does, and has it call `admit` between making the link and starting
containers.
"""

import asyncio
from collections.abc import Callable, Mapping

import msgspec

from fairway.engine.serviceproxy.policies.snapshot import Member, member
from fairway.kube.api.meta import ObjectKey
from fairway.kube.api.pods import Pod

_SECONDS_MAX = 30.0


class _Newcomer(msgspec.Struct, frozen=True, eq=False):
    """A pod with its address, until the API shows it or the pod is gone."""

    uid: str
    member: Member
    admitted: asyncio.Event


class Gate:
    """Lives as long as the engine; the loop may come and go, and without it nobody gets in."""

    def __init__(self) -> None:
        self._newcomers: dict[ObjectKey, _Newcomer] = {}
        self._wake: Callable[[], None] = lambda: None

    async def admit(self, pod: Pod, address: str) -> None:
        """Return when the policies for this pod are in force.  Raises TimeoutError; may be repeated."""
        facts = member(pod, address)
        if facts is None:
            return
        key = pod.metadata.key
        for other in [each for each, held in self._newcomers.items() if held.member.address == address]:
            del self._newcomers[other]  # its address was given to this one: it never came to the API
        newcomer = _Newcomer(pod.metadata.uid, facts, asyncio.Event())
        self._newcomers[key] = newcomer
        self._wake()
        try:
            async with asyncio.timeout(_SECONDS_MAX):
                await newcomer.admitted.wait()
        except TimeoutError:
            raise TimeoutError(f"network policies for {key} were not in force within {_SECONDS_MAX:.0f} s") from None

    def listen(self, wake: Callable[[], None]) -> None:
        """Call `wake` when somebody comes; only the last listener counts."""
        self._wake = wake

    def waiting(self) -> Mapping[ObjectKey, Member]:
        """Everybody that the API does not show yet."""
        return {key: newcomer.member for key, newcomer in self._newcomers.items()}

    def opened(self, members: Mapping[ObjectKey, Member]) -> None:
        """The policies for these are in force."""
        for key, facts in members.items():
            newcomer = self._newcomers.get(key)
            if newcomer and newcomer.member is facts:
                newcomer.admitted.set()

    def shown(self, key: ObjectKey, old: Pod | None, new: Pod | None) -> None:
        """The API shows this of a pod now; who has an address there, has ended or is gone is no newcomer any more."""
        newcomer = self._newcomers.get(key)
        if newcomer is None:
            return
        pod = new or old
        mine = pod is not None and pod.metadata.uid == newcomer.uid
        if not mine:
            return
        facts = member(new, newcomer.member.address)
        if facts is None or (new and new.status.pod_ip == facts.address):
            newcomer.admitted.set()
            del self._newcomers[key]
        elif facts != newcomer.member:
            self._newcomers[key] = _Newcomer(newcomer.uid, facts, newcomer.admitted)
        else:
            return
        self._wake()
