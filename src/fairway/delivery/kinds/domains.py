"""Domain: the claim of a host, cluster-wide; DomainPolicy: which hosts may be claimed by whom."""

import hashlib
import re
from datetime import datetime

from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import Noun


class DomainSpec(Noun, frozen=True):
    """Immutable: who has the host. The object's name is the host, so that the API lets only one claim win."""

    host: str = ""
    namespace: str = ""
    app: str = ""
    app_uid: str = ""


class DomainStatus(Noun, frozen=True):
    claimed_at: datetime | None = None


class Domain(Noun, frozen=True):
    """One claim."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DomainSpec = DomainSpec()
    status: DomainStatus = DomainStatus()


class DomainPolicySpec(Noun, frozen=True):
    """Hosts that end in one of `suffixes` belong to Apps of `namespaces` (empty: of all), named as `pattern` wants.

    `{app}`, `{namespace}` and `{environment}` in `template` are what a host must be, when it is given.
    """

    suffixes: tuple[str, ...] = ()
    namespaces: tuple[str, ...] = ()
    pattern: str = ""
    """A regular expression (RE2) for the part before the suffix."""
    template: str = ""
    reserved: tuple[str, ...] = ()
    """Hosts that nobody may have."""
    exclusive: bool = True
    """With any exclusive policy, hosts that no policy covers are refused."""


class DomainPolicy(Noun, frozen=True):
    """One policy."""

    metadata: ObjectMeta = ObjectMeta()
    spec: DomainPolicySpec = DomainPolicySpec()


_NAME_LENGTH_MAX = 253
_ESCAPED = re.compile(r"(literal-)*wildcard\.")


def domain_name(host: str) -> str:
    """The name of a host's Domain: the host, with `wildcard.` for a leading `*.`.

    No two hosts share one: a host that is called so gets `literal-` in front, and one too long for a name its sum.
    """
    name = "wildcard." + host[2:] if host.startswith("*.") else host
    if _ESCAPED.match(host):
        name = f"literal-{host}"
    return _short(name, host)


def tls_secret_name(host: str) -> str:
    """The name of the Secret with a host's certificate: the host's alone, and the same as long as it is somebody's."""
    return _short(f"{domain_name(host)}-tls", host)


def _short(name: str, host: str) -> str:
    if len(name) <= _NAME_LENGTH_MAX:
        return name
    return f"{name.partition('.')[0][:63].rstrip('-')}.{hashlib.sha256(host.encode()).hexdigest()[:40]}.long"
