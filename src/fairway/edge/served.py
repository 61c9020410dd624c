"""What the running HAProxy does for a host, for those in the same process who must not promise more than that.

Only what HAProxy has taken counts. What is on its way, or was refused, is not here.
"""

from fairway.edge.ir import Forward
from fairway.edge.proxy import Proxy
from fairway.edge.translate import Translation
from fairway.edge.translate.groups import covered
from fairway.kube.api.meta import ObjectKey


class Served:
    """The room tells it what was applied; until then, and while that is not known, nothing is served."""

    def __init__(self) -> None:
        self._proxy: Proxy | None = None
        self._applied = Translation()

    def begin(self, proxy: Proxy) -> None:
        """A room starts, on this proxy."""
        self._proxy, self._applied = proxy, Translation()

    def see(self, applied: Translation) -> None:
        """The proxy has all of this."""
        self._applied = applied

    def leaves(self, ingress: ObjectKey) -> bool:
        """Whether an Ingress was seen and is for another controller."""
        readings = self._applied.readings
        return ingress in readings.ingresses and ingress not in readings.served

    def certified(self, host: str) -> bool:
        """Whether a host is answered with a certificate of its own."""
        return covered(host, self._applied.secured.names)

    def addresses(self, host: str, ingress: ObjectKey, service: ObjectKey) -> frozenset[str] | None:
        """Where requests for a host go that an Ingress sends to a Service; none while they get nowhere.

        None where they are answered without the Service, by a redirect for example. Servers come and go also while a
        reload waits, so they are read from the proxy itself.
        """
        running = self._proxy.running if self._proxy is not None else None
        if running is None:
            return frozenset()
        if any(one.host == host for one in self._applied.edge.passthroughs):
            return None
        mine = [one for one in self._applied.groups.by_host.get(host, ()) if one.owner == ingress]
        names = [one.action.backend for one in mine if isinstance(one.action, Forward)]
        if mine and not names:
            return None
        places = [running.placement.names.get(name, "") for name in names if name.startswith(f"{service}:")]
        return frozenset(server.address for place in places for server in running.slots.get(place, ()) if server)
