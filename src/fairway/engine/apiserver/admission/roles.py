"""Nobody gives away rights that they do not have (privilege escalation prevention of RBAC)."""

from collections.abc import Sequence
from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import DELETE, Review
from fairway.engine.apiserver.authentication import MASTERS
from fairway.engine.apiserver.authorization import Attributes, Authorization
from fairway.engine.apiserver.authorization.rbac import (
    BINDINGS,
    CLUSTER_BINDINGS,
    CLUSTER_ROLES,
    GROUP,
    ROLES,
    Place,
    binding_from,
)
from fairway.engine.apiserver.authorization.rules import EVERYTHING, Rule, compact, from_raw, missing, quoted, text

Object = dict[str, Any]
_RESOURCES = frozenset({BINDINGS, CLUSTER_BINDINGS, CLUSTER_ROLES, ROLES})
_CONTENT = ("rules", "aggregationRule", "roleRef", "subjects")


class Escalation:
    """One write of a role or a binding."""

    def __init__(self, authorization: Authorization, review: Review) -> None:
        self._authorization = authorization
        self._review = review
        self._namespace = review.key.namespace

    def check_role(self, role: Object) -> None:
        """Raises ApiError 403 unless the user has all the rules, or may `escalate`."""
        if self._may("escalate", self._review.key.resource, (self._namespace, self._review.key.name)):
            return
        self._confirm(from_raw(role.get("rules")))
        if role.get("aggregationRule") and self._lacking(EVERYTHING):
            why = "must have cluster-admin privileges to use the aggregationRule"
            raise errors.forbidden(self._review.subject, why)

    def check_binding(self, raw: Object) -> None:
        """Raises ApiError 403 unless the user has all the role's rules, or may `bind` it; 404 without the role."""
        place = binding_from((self._namespace, self._review.key.name), raw).role
        resource = ROLES if place[0] else CLUSTER_ROLES
        if self._may("bind", resource, (self._namespace, place[1])):
            return
        rules = self._authorization.rbac.role(place)
        if rules is None:
            plural = resource.partition("/")[2]
            raise errors.not_found(errors.Subject(GROUP, plural, place[1]))
        self._confirm(rules)

    def _may(self, verb: str, resource: str, place: Place) -> bool:
        plural = resource.partition("/")[2]
        user = self._review.user
        attributes = Attributes(user, verb, "", GROUP, "v1", plural, namespace=place[0], name=place[1])
        return self._authorization.allows(attributes)

    def _lacking(self, rules: Sequence[Rule]) -> list[Rule]:
        return missing(self._authorization.rules(self._review.user, self._namespace), rules)

    def _confirm(self, rules: Sequence[Rule]) -> None:
        lacking = self._lacking(rules)
        if lacking:
            user = self._review.user
            listed = "\n".join(sorted({text(rule) for rule in compact(lacking)}))
            raise errors.forbidden(
                self._review.subject,
                f'user "{user.name}" (groups={quoted(user.groups)}) is attempting to grant RBAC permissions '
                f"not currently held:\n{listed}",
            )


def plugin(authorization: Authorization) -> Any:
    """The plugin over what is decided by `authorization`."""

    def admit(review: Review) -> None:
        if review.key.resource not in _RESOURCES or review.operation == DELETE or MASTERS in review.user.groups:
            return
        obj, old = review.obj, review.old
        if obj is None or (old is not None and all(obj.get(key) == old.get(key) for key in _CONTENT)):
            return
        escalation = Escalation(authorization, review)
        if review.key.resource in (ROLES, CLUSTER_ROLES):
            escalation.check_role(obj)
        else:
            escalation.check_binding(obj)

    return admit
