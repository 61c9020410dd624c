"""Images pushed over the OCI distribution API (spec 1.1) into the node's own content store.

Reads:  the token table; requests of clients.
Writes: blobs, links and tags under the image store; names in the index of images that the kubelet reads; the Service
        and EndpointSlice kube-system/registry.
Loop:   whole (to publish itself); requests are answered as they come; once an hour old uploads and garbage go.
Flow:   request → paths → access → blobs | manifests | listings → repositories.
"""

from fairway.registry.config import Config as Config
from fairway.registry.config import Listener as Listener
from fairway.registry.config import Service as Service
from fairway.registry.room import run as run
