"""Every kind that is served, as data: one visible table."""

from fairway.engine.apiserver.resources.certificates import CERTIFICATE_SIGNING_REQUESTS
from fairway.engine.apiserver.resources.configmaps import CONFIG_MAPS
from fairway.engine.apiserver.resources.controllerrevisions import CONTROLLER_REVISIONS
from fairway.engine.apiserver.resources.core_views import BINDINGS, COMPONENT_STATUSES
from fairway.engine.apiserver.resources.cronjobs import CRON_JOBS
from fairway.engine.apiserver.resources.customresourcedefinitions import CUSTOM_RESOURCE_DEFINITIONS
from fairway.engine.apiserver.resources.daemonsets import DAEMON_SETS
from fairway.engine.apiserver.resources.deployments import DEPLOYMENTS
from fairway.engine.apiserver.resources.endpoints import ENDPOINTS
from fairway.engine.apiserver.resources.endpointslices import ENDPOINT_SLICES
from fairway.engine.apiserver.resources.events import EVENTS
from fairway.engine.apiserver.resources.ingressclasses import INGRESS_CLASSES
from fairway.engine.apiserver.resources.ingresses import INGRESSES
from fairway.engine.apiserver.resources.jobs import JOBS
from fairway.engine.apiserver.resources.kind import Cause as Cause
from fairway.engine.apiserver.resources.kind import Column as Column
from fairway.engine.apiserver.resources.kind import Kind as Kind
from fairway.engine.apiserver.resources.leases import LEASES
from fairway.engine.apiserver.resources.metadata import validate_metadata as validate_metadata
from fairway.engine.apiserver.resources.metrics import NODE_METRICS, POD_METRICS
from fairway.engine.apiserver.resources.namespaces import NAMESPACES
from fairway.engine.apiserver.resources.network_policies import NETWORK_POLICIES
from fairway.engine.apiserver.resources.nodes import NODES
from fairway.engine.apiserver.resources.plain import PLAIN_KINDS
from fairway.engine.apiserver.resources.pods import PODS
from fairway.engine.apiserver.resources.policies import HORIZONTAL_POD_AUTOSCALERS, POD_DISRUPTION_BUDGETS
from fairway.engine.apiserver.resources.priorityclasses import PRIORITY_CLASSES
from fairway.engine.apiserver.resources.quotas import LIMIT_RANGES, RESOURCE_QUOTAS
from fairway.engine.apiserver.resources.replicasets import REPLICA_SETS
from fairway.engine.apiserver.resources.replicationcontrollers import POD_TEMPLATES, REPLICATION_CONTROLLERS
from fairway.engine.apiserver.resources.reviews import REVIEWS
from fairway.engine.apiserver.resources.roles import CLUSTER_ROLE_BINDINGS, CLUSTER_ROLES, ROLE_BINDINGS, ROLES
from fairway.engine.apiserver.resources.secrets import SECRETS
from fairway.engine.apiserver.resources.serviceaccounts import SERVICE_ACCOUNTS
from fairway.engine.apiserver.resources.services import SERVICES
from fairway.engine.apiserver.resources.statefulsets import STATEFUL_SETS
from fairway.engine.apiserver.resources.views import EVENTS_V1, HORIZONTAL_POD_AUTOSCALERS_V1
from fairway.engine.apiserver.resources.volume_claims import (
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    STORAGE_CLASSES,
)

KINDS: tuple[Kind, ...] = (
    # core
    BINDINGS,
    COMPONENT_STATUSES,
    CONFIG_MAPS,
    ENDPOINTS,
    EVENTS,
    LIMIT_RANGES,
    NAMESPACES,
    NODES,
    PERSISTENT_VOLUME_CLAIMS,
    PERSISTENT_VOLUMES,
    POD_TEMPLATES,
    PODS,
    REPLICATION_CONTROLLERS,
    RESOURCE_QUOTAS,
    SECRETS,
    SERVICE_ACCOUNTS,
    SERVICES,
    # apiextensions
    CUSTOM_RESOURCE_DEFINITIONS,
    # apps
    CONTROLLER_REVISIONS,
    DAEMON_SETS,
    DEPLOYMENTS,
    REPLICA_SETS,
    STATEFUL_SETS,
    # autoscaling, batch
    HORIZONTAL_POD_AUTOSCALERS,
    HORIZONTAL_POD_AUTOSCALERS_V1,
    CRON_JOBS,
    JOBS,
    # coordination, discovery
    LEASES,
    ENDPOINT_SLICES,
    EVENTS_V1,
    # networking, policy
    INGRESS_CLASSES,
    INGRESSES,
    NETWORK_POLICIES,
    POD_DISRUPTION_BUDGETS,
    # rbac
    CLUSTER_ROLE_BINDINGS,
    CLUSTER_ROLES,
    ROLE_BINDINGS,
    ROLES,
    # authentication, authorization, certificates
    *REVIEWS,
    CERTIFICATE_SIGNING_REQUESTS,
    # metrics
    NODE_METRICS,
    POD_METRICS,
    # scheduling, storage
    PRIORITY_CLASSES,
    STORAGE_CLASSES,
    # what is stored for others
    *PLAIN_KINDS,
)
