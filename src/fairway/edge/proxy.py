"""What the edge's loop needs of a HAProxy; the real one and the fake are both of this type."""

from typing import Protocol

from fairway.edge.plan import Observed as Observed
from fairway.edge.plan import Plan, fingerprint
from fairway.edge.render import Rendered


class CertificateRefused(Exception):
    """HAProxy would not take a certificate that looked right. `pem` is its content; the message is HAProxy's own."""

    def __init__(self, pem: str, message: str) -> None:
        super().__init__(message)
        self.pem = pem


class Proxy(Protocol):
    """Something that can be brought to a configuration."""

    running: Rendered | None
    """What it has; None when nothing runs or when that is not known."""

    dynamic: bool
    """Whether servers can be added while it runs."""

    async def adopt(self) -> None:
        """Take over what an earlier process left running, if anything."""
        ...

    async def apply(self, plan: Plan, desired: Rendered) -> None:
        """Carry out a plan that leads to `desired`.

        Raises CertificateRefused, and toolkit.haproxy.HaproxyError for the rest; `running` then says what is known.
        """
        ...

    async def observe(self) -> Observed:
        """Ask for what it really has. Raises toolkit.haproxy.HaproxyError."""
        ...

    async def revive(self) -> bool:
        """Start it again as it was, from its files, if it is gone and what it had is known; whether that was so.

        Raises toolkit.haproxy.HaproxyError, and then nothing is known.
        """
        ...

    async def ended(self) -> None:
        """Wait until it is gone; return at once when nothing runs."""
        ...

    def forget(self) -> None:
        """Do not trust what is known any more: the next plan is a reload."""
        ...


def expected(rendered: Rendered) -> Observed:
    """What `observe` finds when a HAProxy has exactly this; entries of unordered maps are sorted."""
    maps = {name: tuple(sorted(entries.items())) for name, entries in rendered.maps.items()}
    return Observed(
        maps={**maps, **rendered.ordered_maps},
        servers={
            f"{backend}/s{number}": (server.address, server.port)
            for backend, slots in rendered.slots.items()
            for number, server in enumerate(slots, 1)
            if server
        },
        certificates={name: certificate.hosts for name, certificate in sorted(rendered.certificates.items())},
        fingerprints={name: fingerprint(certificate) for name, certificate in rendered.certificates.items()},
    )
