"""The settings of the room."""

from pathlib import Path

import msgspec

from fairway.edge.access_log import SECRET_WORDS
from fairway.edge.metrics import SERIES_MOST


class Config(msgspec.Struct, frozen=True):
    """Where the edge listens and keeps its files.

    `http_fd` and `https_fd` are listening sockets that the process inherited; without them `http_address` and
    `https_address` (`127.0.0.1:8080`; "" is none) are opened by HAProxy itself. `https_port` is the port that clients
    see, for redirects; None is the port of the socket. `status_addresses` (IPs or names) go to the status of Ingresses.
    `access_log` is a file of one JSON object per request, rotated at `access_log_bytes_max`; `access_log_keep` old ones
    stay. Query parameters whose names contain one of `secret_words` are written without their values. Metrics, as
    Prometheus text, are served over HTTP on the Unix socket `metrics_socket`; at most `series_most` path rules are
    counted by themselves. `trace`: begin a W3C trace for requests that carry none.
    `lease` (namespace/name) is what several edges on one cluster settle with who writes statuses, `identity` who this
    one is, the same after a restart; without them this one always writes. `name_servers` (ADDRESS:PORT) resolve the
    names of ExternalName Services; without any, those of /etc/resolv.conf.
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
    access_log: Path | None = None
    access_log_bytes_max: int = 64 * 1024 * 1024
    access_log_keep: int = 5
    secret_words: tuple[str, ...] = SECRET_WORDS
    metrics_socket: Path | None = None
    series_most: int = SERIES_MOST
    trace: bool = False
    threads: int | None = None
    lease: str = ""
    identity: str = ""
    name_servers: tuple[str, ...] = ()
