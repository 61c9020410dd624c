"""Which pod has which address. The only truth are the `ip` files in the sandbox folders; there is no second list."""

import ipaddress
from collections.abc import Iterator
from pathlib import Path

from fairway.toolkit import files


class AddressesExhausted(Exception):
    """Every address of the pod network is taken."""


class Addresses:
    """Hands out addresses in turn, so that one that was just released is not used again at once."""

    def __init__(self, sandboxes: Path, pod_cidr: str, reserved: frozenset[str]) -> None:
        self._sandboxes = sandboxes
        self._network = ipaddress.IPv4Network(pod_cidr)
        self._reserved = reserved
        # Given out but not yet written: taken as well.
        self._pending: set[str] = set()
        self._last = max(self._taken(), key=ipaddress.IPv4Address, default=str(self._network.network_address))

    def of(self, sandbox: str) -> str | None:
        """The address of a sandbox whose links are complete."""
        try:
            return self._file(sandbox).read_text() or None
        except FileNotFoundError:
            return None

    def allocate(self) -> str:
        """A free address, taken from now on. Raises AddressesExhausted."""
        taken = self._taken()
        for candidate in self._candidates():
            if candidate not in taken:
                self._pending.add(candidate)
                self._last = candidate
                return candidate
        raise AddressesExhausted(f"no free address in {self._network}")

    def keep(self, sandbox: str, address: str) -> None:
        """Write down that a sandbox has this address and its links are complete."""
        files.replace(self._file(sandbox), address.encode())
        self._pending.discard(address)

    def release(self, sandbox: str, address: str) -> None:
        """Give an address back. May be repeated."""
        self._pending.discard(address)
        if self.of(sandbox) == address:
            self._file(sandbox).unlink(missing_ok=True)

    def _file(self, sandbox: str) -> Path:
        return self._sandboxes / sandbox / "ip"

    def _taken(self) -> set[str]:
        written = {path.read_text() for path in self._sandboxes.glob("*/ip")}
        return (written | self._pending) - {""}

    def _candidates(self) -> Iterator[str]:
        """All addresses for pods, starting behind the last one given out."""
        first, last = int(self._network.network_address) + 1, int(self._network.broadcast_address) - 1
        start = int(ipaddress.IPv4Address(self._last)) + 1
        for number in (*range(start, last + 1), *range(first, min(start, last + 1))):
            address = str(ipaddress.IPv4Address(number))
            if address not in self._reserved:
                yield address
