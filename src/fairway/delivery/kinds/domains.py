"""Domain: the claim of a host, cluster-wide; DomainPolicy: which hosts may be claimed by whom."""

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


def domain_name(host: str) -> str:
    """The name of a host's Domain: the host, with `wildcard.` for a leading `*.`."""
    return "wildcard." + host[2:] if host.startswith("*.") else host
