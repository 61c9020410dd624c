"""What every pod's worker works with."""

from collections.abc import Callable, Iterable, Mapping

import msgspec

from fairway.engine.kubelet.config import Config
from fairway.engine.kubelet.interfaces import Admit, PodNetwork, Runtime, admit_all
from fairway.engine.kubelet.lookup import Lookup
from fairway.engine.kubelet.pulls import Pulls
from fairway.engine.kubelet.reports import Reports
from fairway.engine.kubelet.states import States
from fairway.engine.kubelet.stopping import Stopper
from fairway.engine.kubelet.volumes import Volumes
from fairway.kube.api.pods import Pod
from fairway.kube.api.services import Service
from fairway.kube.client.client import ApiClient
from fairway.kube.reconcile.cache import Cache
from fairway.toolkit.clock import Clock


class Tools(msgspec.Struct, frozen=True, kw_only=True):
    """One of each for the whole node."""

    config: Config
    clock: Clock
    client: ApiClient
    runtime: Runtime
    network: PodNetwork
    states: States
    stopper: Stopper
    volumes: Volumes
    pulls: Pulls
    lookup: Lookup
    reports: Reports
    services: Cache[Service]
    allocatable: Mapping[str, str]
    neighbours: Callable[[str], Iterable[Pod]]
    """The pods of this node that use something, but for one, given by its uid."""
    admit: Admit = admit_all
