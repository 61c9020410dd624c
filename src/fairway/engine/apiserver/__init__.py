"""HTTP in, objects stored, watches out: a Kubernetes API server.

Reads:  requests (Unix socket with all rights, TLS with client certificates), the kubelet's log endpoint.
Writes: the object database in `Config.state_dir`, which it alone opens.
Flow:   identity → permission → endpoint → admission → registry → store. One generic way for all kinds; what a kind is
stands in `resources/`.
"""

from fairway.engine.apiserver.server import ApiServer as ApiServer
from fairway.engine.apiserver.server import Config as Config
