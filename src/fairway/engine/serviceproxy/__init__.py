"""Services and EndpointSlices to nftables: connections to a Service end at its ready pods.

Reads: Service, EndpointSlice.   Writes: Events, one nftables table, conntrack entries (removal of stale UDP flows).
Loop:  whole.   Flow: snapshot -> translate (ir) -> plan -> render -> nftables.
"""

from fairway.engine.serviceproxy.config import Config as Config
from fairway.engine.serviceproxy.controller import run as run
