"""The room at work: one Secret at a time."""

import asyncio
import base64
from typing import Any

from fairway.certificates import authority
from fairway.certificates.config import Config
from fairway.certificates.order import Order, Problem, order, secrets_of, serves, unserved_wish
from fairway.certificates.plan import Issue, Remove, annotations, plan
from fairway.kube.api.config import Secret
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.issued import ISSUER, LABEL, TYPE, is_issued
from fairway.kube.api.meta import ObjectKey, ObjectReference
from fairway.kube.api.resource import INGRESS_CLASSES, INGRESSES, SECRETS
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, Forbidden, NotFound
from fairway.kube.reconcile.events import EventRecorder
from fairway.kube.reconcile.keyed import run_keyed
from fairway.kube.reconcile.reflector import Reflector, run_reflectors, wait_synced
from fairway.kube.reconcile.workqueue import WorkQueue
from fairway.toolkit import logs, signing
from fairway.toolkit.clock import Clock
from fairway.toolkit.signing import Pair

ROOM = "certificates"
log = logs.get(ROOM)


async def run(client: ApiClient, config: Config, clock: Clock) -> None:
    """Keep certificates until cancelled. Raises OSError, ApiError or Unreachable when there is no authority to be had.

    The certificate to trust is then in `authority_dir`/web-ca.crt, or in the Secret of the authority.
    """
    if config.authority_dir is not None:
        signer = await asyncio.to_thread(authority.from_files, config.authority_dir, clock.now())
    else:
        signer = await authority.from_cluster(client, config.authority_namespace, clock.now())
    controller = Controller(client, config, clock, signer)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(run_reflectors(*controller.reflectors))
        await wait_synced(*controller.reflectors)
        controller.begin()
        tasks.create_task(run_keyed(ROOM, controller.queue, controller.reconcile, workers=2))


class Controller:
    """Ingresses by the Secrets they name, and what becomes of these."""

    def __init__(self, client: ApiClient, config: Config, clock: Clock, signer: Pair) -> None:
        self.queue: WorkQueue[ObjectKey] = WorkQueue()
        by_secret = {"secret": lambda ingress: map(str, secrets_of(ingress))}
        self._ingresses = Reflector(client, INGRESSES, Ingress, clock, indexes=by_secret)
        self._classes = Reflector(client, INGRESS_CLASSES, IngressClass, clock)
        # A person's Secret of any type may have the name; those of Helm are many, large and never asked for.
        self._secrets = Reflector(client, SECRETS, Secret, clock, fields="type!=helm.sh/release.v1")
        self.reflectors = (self._ingresses, self._classes, self._secrets)
        self._client = client
        self._config = config
        self._clock = clock
        self._signer = signer
        self._fingerprint = signing.fingerprint(signer.certificate)
        self._events = EventRecorder(client, "fairway-certificates", clock)
        self._told: set[tuple[str, Problem]] = set()
        self._telling: set[asyncio.Task[None]] = set()

    def begin(self) -> None:
        """Look at everything once, then at what changes."""
        self._all()
        for secret in self._secrets.cache.values():
            self._secret_changed(secret.metadata.key, None, secret)
        self._ingresses.cache.subscribe(self._ingress_changed)
        self._classes.cache.subscribe(lambda *_: self._all())
        self._secrets.cache.subscribe(self._secret_changed)

    async def reconcile(self, key: ObjectKey) -> float | None:
        """Do what the plan says; returns after how many seconds to look again."""
        classes = {item.metadata.name: item for item in self._classes.cache.values()}
        wanted = order(key, self._ingresses.cache.by_index("secret", str(key)), classes, self._config)
        secret = self._secrets.cache.get(key)
        for ingress, problem in wanted.problems:
            await self._tell(ingress, problem)
        step = plan(wanted, secret, self._fingerprint, self._clock.now())
        if isinstance(step, Issue):
            await self._issue(wanted, step)
            return None  # what was written comes back as a change
        if isinstance(step, Remove):
            await self._remove(key, step)
            return None
        return step.seconds

    async def _issue(self, wanted: Order, step: Issue) -> None:
        now = self._clock.now()
        pair = await asyncio.to_thread(signing.server, self._signer, step.hosts, now, self._config.lifetime)
        not_after = signing.not_after(pair.certificate)
        data = {"tls.crt": pair.certificate, "tls.key": pair.key, "ca.crt": self._signer.certificate}
        encoded = {name: base64.b64encode(value).decode() for name, value in data.items()}
        renew_after = now + (not_after - now) * 2 / 3
        notes = annotations(step.hosts, encoded["tls.crt"], self._fingerprint, renew_after, not_after)
        if not await self._write(wanted.secret, notes, encoded, step.replaces):
            return
        log.info("issued", secret=wanted.secret, hosts=",".join(step.hosts), why=step.why, until=not_after)
        text = f"Secret {wanted.secret.name} holds a certificate for {', '.join(step.hosts)} until {not_after:%Y-%m-%d}"
        for ingress in wanted.ingresses:
            await self._events.record(_reference(ingress), "Normal", "CertificateIssued", text)

    async def _write(self, key: ObjectKey, notes: dict[str, str], data: dict[str, str], replaces: str) -> bool:
        """Write only where nothing is, or where what is there is still what was looked at. Raises Conflict."""
        metadata: dict[str, Any] = {"labels": {LABEL: ISSUER}, "annotations": notes}
        if replaces:
            patch = {"metadata": {**metadata, "resourceVersion": replaces}, "data": data}
            await self._client.patch(SECRETS, key.name, patch, namespace=key.namespace)
            return True
        metadata |= {"name": key.name, "namespace": key.namespace}
        try:
            await self._client.create(
                SECRETS, {"apiVersion": "v1", "kind": "Secret", "type": TYPE, "metadata": metadata, "data": data}
            )
        except AlreadyExists:
            return False  # somebody else's; the watch tells
        except (Forbidden, NotFound) as error:
            log.info("could not write", secret=key, error=error)  # the namespace is going away, most likely
            return False
        return True

    async def _remove(self, key: ObjectKey, step: Remove) -> None:
        try:
            await self._client.delete(
                SECRETS, key.name, namespace=key.namespace, uid=step.uid, resource_version=step.resource_version
            )
        except NotFound:
            return
        log.info("removed", secret=key, why="expired, and no Ingress names it")

    def _all(self) -> None:
        for ingress in self._ingresses.cache.values():
            self._ingress_changed(ingress.metadata.key, None, ingress)

    def _ingress_changed(self, _: ObjectKey, old: Ingress | None, new: Ingress | None) -> None:
        for ingress in filter(None, (old, new)):
            for key in secrets_of(ingress):
                self.queue.add(key)
        if old is not None and new is None:
            self._told = {seen for seen in self._told if seen[0] != old.metadata.uid}
        if new is not None and (problem := unserved_wish(new)):
            classes = {item.metadata.name: item for item in self._classes.cache.values()}
            if serves(new, classes, self._config):
                task = asyncio.get_running_loop().create_task(self._tell(new, problem))
                self._telling.add(task)
                task.add_done_callback(self._telling.discard)

    def _secret_changed(self, key: ObjectKey, old: Secret | None, new: Secret | None) -> None:
        mine = any(is_issued(secret) for secret in (old, new) if secret is not None)
        if mine or self._ingresses.cache.by_index("secret", str(key)):
            self.queue.add(key)

    async def _tell(self, ingress: Ingress, problem: Problem) -> None:
        """Once per Ingress and problem: an Event for every look would be noise."""
        seen = (ingress.metadata.uid, problem)
        if seen in self._told:
            return
        self._told.add(seen)
        await self._events.record(_reference(ingress), "Warning", problem.reason, problem.message)


def _reference(ingress: Ingress) -> ObjectReference:
    meta = ingress.metadata
    return ObjectReference(
        INGRESSES.api_version, INGRESSES.kind, meta.namespace, meta.name, meta.uid, meta.resource_version
    )
