"""Claims of hosts: one Domain object each, whose name lets the API pick a single winner."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import msgspec

from fairway.delivery.domains.plan import Wish, refusal
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.kinds.domains import Domain, DomainPolicy, domain_name
from fairway.delivery.kinds.resources import APP_LABEL, APPS, DOMAIN_POLICIES, DOMAINS, PRODUCTION
from fairway.kube.api.ingresses import Ingress
from fairway.kube.api.meta import ObjectKey, ObjectMeta
from fairway.kube.api.noun import Noun, decode
from fairway.kube.api.resource import INGRESSES
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, NotFound
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

OWNER_LABEL = "fairway.dev/app-uid"
_TRIES_MAX = 3
log = logs.get("delivery")


class Claims(msgspec.Struct, frozen=True):
    """What became of an App's wishes: hosts it has, hosts it does not get and why, and what people should know."""

    held: tuple[str, ...] = ()
    refused: Mapping[str, str] = {}
    warnings: Mapping[str, str] = {}


class Claimant:
    """Claims hosts for Apps and gives them back."""

    def __init__(self, client: ApiClient) -> None:
        self._client = client

    async def claim(self, app: App, hosts: Sequence[str]) -> Claims:
        """Have exactly `hosts` claimed, as far as policies and other Apps allow.

        Policies are asked when a host is claimed; a host that is held stays with its App when they change.
        """
        mine = await self._held_by(app.metadata.uid)
        new = [host for host in hosts if host not in mine]
        refused = await self._claim_new(app, new) if new else {}
        for host, domain in mine.items():
            if host not in hosts:
                await self._release(domain)
        held = tuple(host for host in hosts if host not in refused)
        warnings = await self._served_elsewhere(app, [host for host in new if host not in refused])
        return Claims(held, refused, warnings)

    async def release_all(self, app: ObjectKey) -> None:
        """Give back what an App had that is gone; an App of the same name that exists now keeps its own."""
        labels = f"{APP_LABEL}={app.name}"
        found = [decode(Domain, raw) for raw in (await self._client.list(DOMAINS, labels=labels)).items]
        for domain in found:
            if domain.spec.namespace == app.namespace and await self._orphaned(domain):
                await self._release(domain)

    async def release_orphan(self, name: str) -> None:
        """Give a claim back if its App is gone."""
        try:
            domain = decode(Domain, await self._client.get(DOMAINS, name))
        except NotFound:
            return
        if await self._orphaned(domain):
            await self._release(domain)

    async def _held_by(self, uid: str) -> dict[str, Domain]:
        found = await self._client.list(DOMAINS, labels=f"{OWNER_LABEL}={uid}")
        domains = (decode(Domain, raw) for raw in found.items)
        return {domain.spec.host: domain for domain in domains if domain.spec.app_uid == uid}

    async def _claim_new(self, app: App, hosts: Sequence[str]) -> dict[str, str]:
        policies = [decode(DomainPolicy, raw) for raw in (await self._client.list(DOMAIN_POLICIES)).items]
        places = {host: one.name for one in environments(app) for host in one.domains}
        refused = {}
        for host in hosts:
            wish = Wish(host, app.metadata.namespace, app.metadata.name, places.get(host, PRODUCTION))
            if text := refusal(wish, policies) or await self._under_wildcard(app, host) or await self._make(app, host):
                refused[host] = text
        return refused

    async def _under_wildcard(self, app: App, host: str) -> str:
        """A host inside another team's wildcard would take away what that team serves there."""
        above = "*." + host.partition(".")[2]
        if host.startswith("*."):
            return ""
        try:
            domain = decode(Domain, await self._client.get(DOMAINS, domain_name(above)))
        except NotFound:
            return ""
        if domain.spec.host != above or domain.spec.namespace == app.metadata.namespace:
            return ""
        return f'domain "{host}" lies under {above}, which is taken by {_owner(domain)}'

    async def _make(self, app: App, host: str) -> str:
        """Create the claim; returns why it could not be had."""
        for _ in range(_TRIES_MAX):
            try:
                await self._client.create(DOMAINS, _claim_of(app, host))
            except AlreadyExists:
                taken = await self._whose(app, host)
                if taken is not None:
                    return taken
            else:
                log.info("claimed", host=host, app=app.metadata.key)
                return ""
        return f'domain "{host}" changes hands all the time; try again'

    async def _whose(self, app: App, host: str) -> str | None:
        """ "" when it is the App's own after all, None when it has become free."""
        try:
            domain = decode(Domain, await self._client.get(DOMAINS, domain_name(host)))
        except NotFound:
            return None
        if domain.spec.app_uid == app.metadata.uid and domain.spec.host == host:
            return ""
        if await self._orphaned(domain):
            await self._release(domain)
            return None
        return f'domain "{host}" is taken by {_owner(domain)}; choose another host, or have it given back there'

    async def _orphaned(self, domain: Domain) -> bool:
        try:
            raw = await self._client.get(APPS, domain.spec.app, domain.spec.namespace)
        except NotFound:
            return True
        return bool(raw["metadata"]["uid"] != domain.spec.app_uid)

    async def _release(self, domain: Domain) -> None:
        try:
            await self._client.delete(DOMAINS, domain.metadata.name, uid=domain.metadata.uid)
        except NotFound:
            return
        log.info("gave back", host=domain.spec.host, app=_owner(domain))

    async def _served_elsewhere(self, app: App, hosts: Sequence[str]) -> dict[str, str]:
        """Claims bind Apps alone; an Ingress that a person made elsewhere may serve the host already."""
        if not hosts:
            return {}
        found = {}
        for raw in (await self._client.list(INGRESSES)).items:
            ingress = decode(Ingress, raw)
            if ingress.metadata.namespace == app.metadata.namespace or APP_LABEL in ingress.metadata.labels:
                continue
            for host in _hosts(ingress) & set(hosts):
                found[host] = f'domain "{host}" is also served by Ingress {ingress.metadata.key}; the older one wins'
        return found


class _Named(Noun, frozen=True):
    """An object of which only matters that it is there."""

    metadata: ObjectMeta = ObjectMeta()


async def run_domains(client: ApiClient, clock: Clock, freed: Callable[[str], None]) -> None:
    """Give back the hosts of Apps that are gone, at once and at every start, until cancelled.

    `freed` hears of each host that nobody holds any more, and "" when the rules changed: who was refused may try again.
    """
    claimant = Claimant(client)
    queue: WorkQueue[str] = WorkQueue()
    by_owner = {"owner": lambda domain: (domain.spec.app_uid,)}
    domains = Reflector(client, DOMAINS, Domain, clock, indexes=by_owner)
    apps = Reflector(client, APPS, _Named, clock, metadata_only=True)
    policies = Reflector(client, DOMAIN_POLICIES, _Named, clock)

    def app_changed(_: ObjectKey, old: _Named | None, new: _Named | None) -> None:
        if old is not None and (new is None or new.metadata.uid != old.metadata.uid):
            for domain in domains.cache.by_index("owner", old.metadata.uid):
                queue.add(domain.metadata.name)

    def domain_changed(_: ObjectKey, old: Domain | None, new: Domain | None) -> None:
        if new is not None and old is None:
            _suspect((new,))
        if new is None and old is not None:
            freed(old.spec.host)

    def _suspect(found: Iterable[Domain]) -> None:
        live = {app.metadata.uid for app in apps.cache.values()}
        for domain in found:
            if domain.spec.app_uid not in live:
                queue.add(domain.metadata.name)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(domains, apps, policies))
        await wait_synced(domains, apps, policies)
        _suspect(domains.cache.values())
        apps.cache.subscribe(app_changed)
        domains.cache.subscribe(domain_changed)
        policies.cache.subscribe(lambda *_: freed(""))
        freed("")  # what became free before we looked
        tasks.create_task(run_keyed("delivery-domains", queue, claimant.release_orphan, workers=1))


def _hosts(ingress: Ingress) -> set[str]:
    return {rule.host for rule in ingress.spec.rules}


def _owner(domain: Domain) -> str:
    return f"{domain.spec.namespace}/{domain.spec.app}"


def _claim_of(app: App, host: str) -> dict[str, Any]:
    metadata = app.metadata
    return {
        "apiVersion": DOMAINS.api_version,
        "kind": DOMAINS.kind,
        "metadata": {
            "name": domain_name(host),
            "labels": {APP_LABEL: metadata.name, OWNER_LABEL: metadata.uid},
        },
        "spec": {
            "host": host,
            "namespace": metadata.namespace,
            "app": metadata.name,
            "appUid": metadata.uid,
        },
    }
