"""Cluster names to answers, and all other names to upstream servers.

Reads: Service, EndpointSlice, Namespace.   Writes: Service and EndpointSlice kube-system/kube-dns.
Loop:  whole (to publish itself); answers are made from the caches at the moment of the question.
Flow:  packet -> message -> plan (records) -> render -> packet.
"""

from fairway.engine.dns.config import Config as Config
from fairway.engine.dns.controller import run as run
