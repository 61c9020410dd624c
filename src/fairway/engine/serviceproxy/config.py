"""What the service proxy is told at the start."""

import msgspec


class Config(msgspec.Struct, frozen=True):
    """The range whose unused addresses are refused, the names of the nftables tables, where the name server is, and
    two paces."""

    service_cidr: str = "10.96.0.0/16"
    table: str = "fairway"
    policy_table: str = "fairway-policy"
    name_server: str = "10.42.0.1"
    """The address behind the Service kube-dns, which policies select as if it were that Service's pod."""
    verify_seconds: float = 5.0
    """How often to ask the kernel whether somebody else wrote rules; without a foreign write that is one message."""
    debounce_seconds: float = 0.001
    """How long a burst of changes is gathered into one transaction."""
