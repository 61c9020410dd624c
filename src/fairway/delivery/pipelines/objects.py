"""What a run has in the API: its fixed pipeline, its Jobs and their Secrets, and the rules around them."""

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import msgspec

from fairway.delivery.config import Config
from fairway.delivery.git.cluster_networks import of_nodes
from fairway.delivery.kinds.apps import App
from fairway.delivery.kinds.resources import FIELD_MANAGER, RUN_LABEL
from fairway.delivery.kinds.runs import PipelineRun
from fairway.delivery.pipelines import render
from fairway.delivery.pipelines.ir import Job, Pipeline, PipelineError, Problem
from fairway.delivery.pipelines.names import pipeline_name
from fairway.delivery.pipelines.plan import Start
from fairway.delivery.pipelines.tokens import Claim, Tokens
from fairway.delivery.pipelines.variables import folder
from fairway.kube.api.resource import CONFIG_MAPS, JOBS, NODES, SECRETS, SERVICE_ACCOUNTS, Resource
from fairway.kube.client.client import ApiClient
from fairway.kube.client.errors import AlreadyExists, Conflict, Forbidden, Invalid, NotFound

Raw = dict[str, Any]
NETWORK_POLICIES = Resource("networking.k8s.io", "v1", "networkpolicies", "NetworkPolicy")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io", "v1", "rolebindings", "RoleBinding")
_PIPELINE_KEY = "pipeline.json"
_PIPELINE_BYTES_MAX = 900_000


HostAddresses = Callable[[], Awaitable[Sequence[str]]]
"""The addresses that a machine has now. May raise OSError."""


class TakenName(Exception):
    """An object of that name belongs to a run that is gone, and will go too: looking again helps."""


class Refused(Exception):
    """An object that cannot be had: the API does not take it, or its name is somebody else's. The text says why."""


class Objects:
    """Writes them; each method can be repeated at any time."""

    def __init__(
        self,
        client: ApiClient,
        config: Config,
        tokens: Tokens,
        program: str,
        gate: str,
        host_addresses: HostAddresses | None = None,
    ) -> None:
        """`host_addresses` are those of a machine whose node does not know them; others are read from the nodes."""
        self._client = client
        self._host_addresses = host_addresses
        self._config = config
        self._tokens = tokens
        self._program = program
        self._gate = gate

    def place(self, app: App, run: PipelineRun) -> render.Place:
        """Where a run works."""
        return render.Place(
            namespace=run.metadata.namespace,
            app=run.spec.app,
            run=run.metadata.name,
            uid=run.metadata.uid,
            folder=folder(app.spec.source.path),
            endpoint_url=f"http://{self._config.endpoint_address}:{self._config.endpoint_port}",
            toolbox_image=self._config.toolbox_image,
            program=self._program,
            gate=self._gate,
            pull_secret=app.spec.registry.credentials_secret,
        )

    async def fix(self, place: render.Place, pipeline: Pipeline) -> Pipeline:
        """Keep what a run does for its whole life; what is kept already is what counts."""
        text = msgspec.json.encode(pipeline).decode()
        if len(text) > _PIPELINE_BYTES_MAX:
            raise PipelineError(Problem(f"with all variables the pipeline has {len(text)} bytes, too many to keep"))
        raw = render.pipeline(place, pipeline_name(place.run), _PIPELINE_KEY, text)
        try:
            await self._client.create(CONFIG_MAPS, raw)
        except AlreadyExists:
            return await self.fixed(place) or pipeline
        except (Forbidden, Invalid) as error:
            raise Refused(str(error)) from error
        return pipeline

    async def fixed(self, place: render.Place) -> Pipeline | None:
        """What a run does, if that is decided."""
        try:
            raw = await self._client.get(CONFIG_MAPS, pipeline_name(place.run), place.namespace)
        except NotFound:
            return None
        _check_owner(raw, place)
        try:
            return msgspec.json.decode(raw["data"][_PIPELINE_KEY], type=Pipeline)
        except (KeyError, msgspec.DecodeError):
            return None

    async def _prepare(self, namespace: str, reach: str) -> None:
        """The rules of a namespace, before the first job runs in it."""
        network = render.Network(
            self._config.endpoint_address,
            self._config.endpoint_port,
            self._config.dns_addresses,
            await self._closed_networks(),
        )
        policy = render.network_policy(namespace, network, reach)
        await self._client.apply(NETWORK_POLICIES, policy, field_manager=FIELD_MANAGER)
        if reach == "cluster":
            account, binding = render.cluster_access(namespace)
            await self._client.apply(SERVICE_ACCOUNTS, account, field_manager=FIELD_MANAGER)
            await self._client.apply(ROLE_BINDINGS, binding, field_manager=FIELD_MANAGER)

    async def _closed_networks(self) -> tuple[str, ...]:
        """What no build may reach: the cluster's networks, and every node by all of its addresses, as they are now."""
        nodes = of_nodes((await self._client.list(NODES)).items)
        mine = await self._host_addresses() if self._host_addresses is not None else ()
        return render.collapsed((*self._config.cluster_networks, *nodes, *mine))

    async def start(self, place: render.Place, app: App, step: Job, action: Start) -> None:
        """The rules, the Secret and the Job of an attempt. Raises TakenName, Refused."""
        token = self._tokens.issue(Claim(place.namespace, place.run, place.uid, step.name))
        secret = render.secret(place, step, action.job, token)
        try:
            await self._prepare(place.namespace, render.reach(step, app.spec.build))
            await self._create(SECRETS, secret, place)
            await self._create(JOBS, render.job(place, step, app.spec.build, action.job, action.attempt), place)
        except (Forbidden, Invalid) as error:
            raise Refused(str(error)) from error
        except OSError as error:
            raise Refused(f"the machine's own addresses, which builds may not reach, are not known: {error}") from error

    async def stop(self, namespace: str, name: str) -> None:
        """Delete a Job; it is gone when all of its processes are."""
        try:
            await self._client.delete(JOBS, name, namespace=namespace, propagation_policy="Foreground")
        except (NotFound, Conflict):
            pass

    async def left(self, place: render.Place) -> tuple[Raw, ...]:
        """The Jobs of a run as the API has them now, whatever a cache says."""
        found = await self._client.list(JOBS, place.namespace, labels=f"{RUN_LABEL}={place.run}")
        return tuple(raw for raw in found.items if _owned(raw, place))

    async def clean(self, place: render.Place) -> None:
        """Remove the Secrets of a run that is over: its tokens are worth nothing any more."""
        found = await self._client.list(SECRETS, place.namespace, labels=f"{RUN_LABEL}={place.run}", metadata_only=True)
        for raw in found.items:
            if _owned(raw, place):
                try:
                    await self._client.delete(SECRETS, raw["metadata"]["name"], namespace=place.namespace)
                except NotFound:
                    continue

    async def _create(self, resource: Resource, raw: Raw, place: render.Place) -> None:
        try:
            await self._client.create(resource, raw)
        except AlreadyExists:
            found = await self._client.get(resource, raw["metadata"]["name"], place.namespace)
            _check_owner(found, place)


def _check_owner(raw: Raw, place: render.Place) -> None:
    """Raises TakenName, Refused."""
    if _owned(raw, place):
        return
    name = f"{raw.get('kind', 'object')} {place.namespace}/{raw['metadata']['name']}"
    if any(one.get("kind") == "PipelineRun" for one in raw["metadata"].get("ownerReferences") or ()):
        raise TakenName(f"{name} is of another run of this name")
    raise Refused(f"{name} belongs to somebody else; delete or rename it")


def _owned(raw: Raw, place: render.Place) -> bool:
    return any(one.get("uid") == place.uid for one in raw["metadata"].get("ownerReferences") or ())
