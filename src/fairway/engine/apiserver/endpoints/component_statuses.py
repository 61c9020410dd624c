"""ComponentStatuses: what upstream deprecated in 1.19 and still answers, made up when asked for."""

from collections.abc import Mapping

import msgspec

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.endpoints import answers, encoding, forms
from fairway.engine.apiserver.endpoints.calls import Call
from fairway.engine.apiserver.endpoints.health import Check
from fairway.engine.apiserver.registry import Registry, resource_of, subject_of
from fairway.engine.apiserver.resources.core_views import COMPONENT_STATUSES
from fairway.engine.apiserver.store import Entry, Key
from fairway.toolkit.clock import Clock
from fairway.toolkit.http_messages import Response


class ComponentStatuses:
    """Answers calls to componentstatuses; selectors and limits count for nothing, as upstream."""

    def __init__(self, registry: Registry, clock: Clock, checks: Mapping[str, Check]) -> None:
        self._registry = registry
        self._clock = clock
        self._checks = checks

    def answer(self, call: Call) -> Response | None:
        """None when the kind is another one. Raises ApiError."""
        if call.kind is not COMPONENT_STATUSES:
            return None
        if call.verb not in call.kind.verbs:
            raise errors.method_not_allowed()
        form = forms.negotiate(call.request.header("accept"), call.query.get("includeObject", ""))
        now, name = self._clock.now(), call.target.name
        if name:
            body = encoding.one(call.kind, self._entry(name), form, now) + b"\n"
        else:
            entries = [self._entry(each) for each in self._checks]
            body = encoding.many(call.kind, entries, form, encoding.ListMeta(""), now)
        return answers.json(body, warnings=(call.kind.warning,))

    def _entry(self, name: str) -> Entry:
        if name not in self._checks:
            raise errors.not_found(subject_of(COMPONENT_STATUSES, name))
        wrong = self._checks[name]()
        condition = {"type": "Healthy", "status": "False" if wrong else "True"}
        condition |= {"message": wrong} if wrong else {"message": "ok"}
        body = {
            "kind": COMPONENT_STATUSES.kind,
            "apiVersion": COMPONENT_STATUSES.api_version,
            "metadata": {"name": name, "creationTimestamp": None},
            "conditions": [condition],
        }
        key = Key(resource_of(COMPONENT_STATUSES), "", name)
        return Entry(key, self._registry.store.revision, msgspec.json.encode(body))
