"""What an Ingress points at."""

import msgspec


class ServiceRef(msgspec.Struct, frozen=True):
    """A Service and one of its ports, by number or by name; 0 is the first."""

    namespace: str
    name: str
    port: int | str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}:{self.port}"
