"""Ports of the host to Services and pods: node ports, load balancer addresses, external addresses, host ports.

The cluster's network is its own, so each port is a socket that was made on the host and is served here, those of TCP
by HAProxy, those of UDP by a relay.

Reads: Service, Pod.   Writes: Service status, Events, one HAProxy, one relay, and their sockets.
Loop:  whole.   Flow: snapshot -> translate (ir) -> plan -> render -> haproxy, relay -> status.
"""

from fairway.engine.loadbalancer.config import Config as Config
from fairway.engine.loadbalancer.config import HostSockets as HostSockets
from fairway.engine.loadbalancer.controller import run as run
