"""Requests to answers: verbs, discovery, OpenAPI, health, watch streams, pod subresources."""

from fairway.engine.apiserver.endpoints.accounts import Accounts as Accounts
from fairway.engine.apiserver.endpoints.accounts import Issuer as Issuer
from fairway.engine.apiserver.endpoints.calls import Call as Call
from fairway.engine.apiserver.endpoints.calls import verb_of as verb_of
from fairway.engine.apiserver.endpoints.component_statuses import ComponentStatuses as ComponentStatuses
from fairway.engine.apiserver.endpoints.discovery import SERVED_SUBRESOURCES as SERVED_SUBRESOURCES
from fairway.engine.apiserver.endpoints.discovery import Discovery as Discovery
from fairway.engine.apiserver.endpoints.health import HEALTH_PROBES as HEALTH_PROBES
from fairway.engine.apiserver.endpoints.health import VERSION as VERSION
from fairway.engine.apiserver.endpoints.health import Health as Health
from fairway.engine.apiserver.endpoints.metrics import Metrics as Metrics
from fairway.engine.apiserver.endpoints.objects import Objects as Objects
from fairway.engine.apiserver.endpoints.openapi import OpenApi as OpenApi
from fairway.engine.apiserver.endpoints.payloads import LongYaml as LongYaml
from fairway.engine.apiserver.endpoints.pods import Pods as Pods
from fairway.engine.apiserver.endpoints.proxies import Proxies as Proxies
from fairway.engine.apiserver.endpoints.proxies import finer as finer
from fairway.engine.apiserver.endpoints.reviews import Reviews as Reviews
from fairway.engine.apiserver.endpoints.routes import Target as Target
from fairway.engine.apiserver.endpoints.routes import parse_path as parse_path
