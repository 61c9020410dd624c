"""The settings of the room."""

from pathlib import Path

import msgspec


class Config(msgspec.Struct, frozen=True):
    """What the room keeps where, and how it is reached.

    `state_dir` holds repositories, logs and caches: a projection but for the repositories of the built-in endpoint.
    `endpoint_address` is where pods reach the endpoint behind the Service; `public_url` how people and forges do.
    `registry` is the host, and a path if there is one, under which images are pulled; `images_dir` the node's image
    store when it is on the same machine: then they are made in it. They are pushed with the logins of
    `registry_credentials` (Docker's config.json), trusting `registry_authorities`/<host[:port]>/ca.crt; only images in
    the node's own store can do without.
    """

    state_dir: Path
    endpoint_address: str = "10.42.0.1"
    endpoint_port: int = 8900
    namespace: str = "fairway-system"
    service: str = "delivery"
    public_url: str = "https://git.fairway.localhost"
    url_suffix: str = ""
    """The port of sites in their addresses, such as ":8443", when it is not the usual one."""
    allowed_hosts: frozenset[str] = frozenset()
    """Forges that may be asked although their addresses are this machine's or the cluster's (see git/guard.py)."""
    own_networks: tuple[str, ...] = ()
    """Networks that nothing is fetched from, beside those that the cluster says are its pods', Services' and nodes'."""
    registry: str = "registry.fairway.local"
    registry_credentials: Path | None = None
    registry_authorities: Path | None = None
    registry_names: tuple[str, ...] = ()
    """Every other name of the platform's own registry."""
    images_dir: Path | None = None
    site_base: str = "nginx:latest"
    push_bytes_max: int = 512 << 20
    """How large a push to a built-in repository may be, packed as it travels."""
    runs_max: int = 1
    """How many runs work at once; the others wait."""
    toolbox_image: str = "python:3-slim"
    """What the platform's own containers in build pods run on: any image with Python 3.10 or newer."""
    dns_addresses: tuple[str, ...] = ("10.96.0.10", "10.42.0.1")
    """Where builds may ask for names; behind a Service also where it leads to."""
    cluster_networks: tuple[str, ...] = ("10.42.0.0/16", "10.96.0.0/16")
    """What builds may not reach: pods, Services, nodes."""
