"""What the API server tells Prometheus about itself: requests by resource and verb, watches, objects, the process."""

from fairway.engine.apiserver.telemetry.page import CONTENT_TYPE as CONTENT_TYPE
from fairway.engine.apiserver.telemetry.page import Page as Page
from fairway.engine.apiserver.telemetry.requests import Requests as Requests
from fairway.engine.apiserver.telemetry.requests import Series as Series
