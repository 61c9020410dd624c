"""Every kind that is served, as data: one visible table."""

from fairway.engine.apiserver.resources.deployments import DEPLOYMENTS
from fairway.engine.apiserver.resources.kind import Cause as Cause
from fairway.engine.apiserver.resources.kind import Column as Column
from fairway.engine.apiserver.resources.kind import Kind as Kind
from fairway.engine.apiserver.resources.pods import PODS
from fairway.engine.apiserver.resources.replicasets import REPLICA_SETS
from fairway.engine.apiserver.resources.services import SERVICES

KINDS: tuple[Kind, ...] = (PODS, SERVICES, DEPLOYMENTS, REPLICA_SETS)
