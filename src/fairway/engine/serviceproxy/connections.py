"""Tracked UDP flows that still go to where the ruleset no longer sends them.

The kernel keeps a translated UDP flow for as long as packets come, so a client with a fixed port (a resolver, a SIP
phone) would talk to a pod that is gone for ever.  TCP ends by itself and is left alone, as kube-proxy does.
"""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network

from fairway.engine.serviceproxy.ir import ANY_LOCAL, Backend, Frontend, Ruleset
from fairway.engine.serviceproxy.plan import Change, SetPool
from fairway.toolkit.netlink_conntrack import Flow

UDP = 17


def leaves_flows(changes: Iterable[Change]) -> bool:
    """Whether UDP flows may be wrong after these changes."""
    return any(isinstance(each, SetPool) and each.frontend.protocol == "udp" and _moved(each) for each in changes)


def _moved(change: SetPool) -> bool:
    """A backend went away, or there is now one where packets were passed on untranslated before."""
    old = change.old.backends if change.old else ()
    new = change.new.backends if change.new else ()
    return not old or not set(old) <= set(new)


def gone(changes: Iterable[Change]) -> frozenset[Frontend]:
    """The UDP frontends that are no more."""
    dropped = (each for each in changes if isinstance(each, SetPool) and each.new is None)
    return frozenset(each.frontend for each in dropped if each.frontend.protocol == "udp")


def stale(
    flows: Iterable[Flow], ruleset: Ruleset, service_cidr: str, gone: frozenset[Frontend] = frozenset()
) -> list[Flow]:
    """The flows to forget; the next packet of each is then translated anew, or refused."""
    network = IPv4Network(service_cidr)
    return [flow for flow in flows if _is_stale(flow, ruleset, network, gone)]


def _is_stale(flow: Flow, ruleset: Ruleset, network: IPv4Network, gone: frozenset[Frontend]) -> bool:
    answering = Backend(flow.reply_source, flow.reply_source_port)
    translated = answering != (flow.destination, flow.destination_port)
    exact = Frontend(flow.destination, "udp", flow.destination_port)
    if exact in ruleset.pools:
        return answering not in ruleset.pools[exact].backends
    if exact in gone or IPv4Address(flow.destination) in network:
        return translated
    anywhere = Frontend(ANY_LOCAL, "udp", flow.destination_port)
    if anywhere in ruleset.pools:
        return translated and answering not in ruleset.pools[anywhere].backends
    return anywhere in gone and translated
