"""Links of pods: one point-to-point veth pair per sandbox, no bridge between pods.

The node has `node0` with its own address and 169.254.1.1, the gateway that every pod uses; a pod has `eth0` with a /32
and the node one route to it. A bridge would hide pod-to-Service traffic from nftables.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

from fairway.engine.kubelet.network.addresses import Addresses
from fairway.toolkit.netlink import Netlink

NODE_LINK = "node0"
POD_LINK = "eth0"
GATEWAY = "169.254.1.1"
_LOOPBACK = 1
_IP_FORWARD = Path("/proc/sys/net/ipv4/ip_forward")
_Result = TypeVar("_Result")


class LinkMissing(Exception):
    """A link that was just made, or node0, is not there."""


class PodNetwork:
    """The pod network of this node. It must run in the network namespace that is the node."""

    def __init__(
        self,
        run_dir: Path,
        pod_cidr: str = "10.42.0.0/16",
        node_ip: str = "10.42.0.1",
        service_cidr: str = "10.96.0.0/16",
    ) -> None:
        self._sandboxes = run_dir / "sandboxes"
        self._pod_cidr = pod_cidr
        self._node_ip = node_ip
        self._service_cidr = service_cidr
        self._addresses: Addresses | None = None
        # One thread of its own: the kernel does one change at a time anyway, and entering a pod's network namespace
        # must not happen to a thread that others use.
        self._thread = ThreadPoolExecutor(1, "network")

    async def setup_node(self) -> None:
        """Make the node's side; what is there already stays, so it may be repeated."""
        await self._run(self._setup_node)

    async def attach(self, sandbox_id: str) -> str:
        """Link a sandbox and return its address; an attached one keeps its address.

        Raises AddressesExhausted, and OSError as the kernel gives it.
        """
        return await self._run(lambda: self._attach(sandbox_id))

    async def detach(self, sandbox_id: str, ip: str) -> None:
        """Remove the link and give the address back. May be repeated."""
        await self._run(lambda: self._detach(sandbox_id, ip))

    def close(self) -> None:
        """End the thread."""
        self._thread.shutdown()

    async def _run(self, work: Callable[[], _Result]) -> _Result:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work)

    def _setup_node(self) -> None:
        with Netlink() as netlink:
            netlink.set_up(_LOOPBACK)
            if netlink.link_index(NODE_LINK) is None:
                netlink.add_bridge(NODE_LINK)  # one without ports: the dummy driver is not everywhere
            index = _index(netlink, NODE_LINK)
            netlink.set_up(index)
            for address in (self._node_ip, GATEWAY):
                netlink.add_address(index, address)
            netlink.add_route(self._service_cidr, index, source=self._node_ip)
            # A pod that is gone is refused at once, not sent on to the default route.
            netlink.add_unreachable(self._pod_cidr)
        _IP_FORWARD.write_text("1")

    def _known(self) -> Addresses:
        if self._addresses is None:
            self._addresses = Addresses(self._sandboxes, self._pod_cidr, frozenset((self._node_ip,)))
        return self._addresses

    def _attach(self, sandbox: str) -> str:
        known = self._known()
        address = known.of(sandbox)
        if address is not None:
            return address
        address = known.allocate()
        try:
            self._link(sandbox, address)
            known.keep(sandbox, address)
        except BaseException:
            known.release(sandbox, address)
            raise
        return address

    def _link(self, sandbox: str, address: str) -> None:
        namespace = self._sandboxes / sandbox / "net"
        name = link_name(sandbox)
        with Netlink() as node, Netlink.inside(str(namespace)) as pod:
            node.delete_link(name)  # half made by an engine that was killed
            handle = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
            try:
                node.add_veth(name, POD_LINK, handle)
            finally:
                os.close(handle)
            inside = _index(pod, POD_LINK)
            pod.add_address(inside, address)
            pod.set_up(inside)
            pod.add_route(GATEWAY, inside)
            pod.add_route("0.0.0.0/0", inside, gateway=GATEWAY)
            outside = _index(node, name)
            node.set_up(outside)
            node.add_route(address, outside, source=self._node_ip)

    def _detach(self, sandbox: str, address: str) -> None:
        with Netlink() as node:
            node.delete_link(link_name(sandbox))
        self._known().release(sandbox, address)


def link_name(sandbox: str) -> str:
    """The node's end of a sandbox's link; at most 15 characters, so a digest of the id."""
    return "v" + hashlib.sha256(sandbox.encode()).hexdigest()[:12]


def _index(netlink: Netlink, name: str) -> int:
    index = netlink.link_index(name)
    if index is None:
        raise LinkMissing(name)
    return index
