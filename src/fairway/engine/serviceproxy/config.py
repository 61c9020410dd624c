"""What the service proxy is told at the start."""

import msgspec


class Config(msgspec.Struct, frozen=True):
    """The range whose unused addresses are refused, the name of the nftables table, and two paces."""

    service_cidr: str = "10.96.0.0/16"
    table: str = "fairway"
    verify_seconds: float = 5.0
    """How often to ask the kernel whether somebody else wrote rules; without a foreign write that is one message."""
    debounce_seconds: float = 0.001
    """How long a burst of changes is gathered into one transaction."""
