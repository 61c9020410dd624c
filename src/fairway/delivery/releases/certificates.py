"""Which Secret has the certificate of which domain."""

from collections.abc import Iterable, Mapping

from fairway.kube.api.config import Secret
from fairway.kube.api.issued import TYPE, is_issued
from fairway.kube.api.noun import decode
from fairway.kube.api.resource import SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import NotFound


async def brought(client: ApiClient, namespace: str, name: str, hosts: Iterable[str]) -> Mapping[str, str]:
    """The Secret `<name>-tls` for each of the hosts that it covers, when the certificate in it is a person's own.

    So is one of cert-manager, from the days when an environment had one for all of its domains: it stays in use, for
    another may take a while to get. One of Fairway's own is left behind: each domain has its own at once.
    Raises ApiError, Unreachable.
    """
    try:
        secret = decode(Secret, await client.get(SECRETS, f"{name}-tls", namespace))
    except NotFound:
        return {}
    if secret.type != TYPE or is_issued(secret):
        return {}
    covered = _names(secret)
    return {host: secret.metadata.name for host in hosts if host in covered or _above(host) in covered}


def _names(secret: Secret) -> set[str]:
    from fairway.toolkit import signing  # it loads cryptography, which nearly no Release needs

    try:
        return signing.names(secret.value("tls.crt"))
    except ValueError:
        return set()


def _above(host: str) -> str:
    return f"*.{host.partition('.')[2]}"
