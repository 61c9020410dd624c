"""Services and EndpointSlices to nftables: connections to a Service end at its ready pods.

Reads: Service, EndpointSlice.   Writes: Events, one nftables table, conntrack entries (removal of stale UDP flows).
Loop:  whole.   Flow: snapshot -> translate (ir) -> plan -> render -> nftables.
`policies` is a second loop of the same shape, for NetworkPolicies, with a table of its own.
"""

from fairway.engine.serviceproxy.config import Config as Config
from fairway.engine.serviceproxy.controller import run as run
from fairway.engine.serviceproxy.policies import Gate as Gate
