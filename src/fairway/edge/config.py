"""The settings of the room."""

from pathlib import Path

import msgspec


class Config(msgspec.Struct, frozen=True):
    """Where the edge listens and keeps its files.

    `http_fd` and `https_fd` are listening sockets that the process inherited; without them `http_address` and
    `https_address` (`127.0.0.1:8080`; "" is none) are opened by HAProxy itself. `https_port` is the port that clients
    see, for redirects; None is the port of the socket. `status_addresses` (IPs or names) go to the status of Ingresses.
    `run_dir` must not be used by anything else and must outlive the process for HAProxy to be adopted.
    """

    run_dir: Path
    state_dir: Path
    http_fd: int | None = None
    https_fd: int | None = None
    http_address: str = ""
    https_address: str = ""
    https_port: int | None = None
    status_addresses: tuple[str, ...] = ()
    binary: str | None = None
    threads: int | None = None
