"""Ingress objects to a running HAProxy.

Reads:  Ingress, IngressClass, Service, EndpointSlice, Secret, ConfigMap.
Writes: Ingress status, Events, a Lease, the IngressClasses `fairway` and `nginx`; HAProxy.
Loop:   whole.
Flow:   snapshot → translate (→ ir) → place → render → plan → haproxy → status.
"""

from fairway.edge.config import Config as Config
from fairway.edge.room import run as run
from fairway.edge.served import Served as Served
from fairway.edge.snapshot import of_manifests as of_manifests
from fairway.edge.translate import Translation as Translation
from fairway.edge.translate import translate as translate
