"""Questions to the API server: kinds that are only created, answered in their status and never stored."""

from fairway.engine.apiserver.resources.kind import Kind, nothing

AUTHENTICATION, AUTHORIZATION = "authentication.k8s.io", "authorization.k8s.io"


def _review(group: str, kind: str, *, namespaced: bool = False, version: str = "v1") -> Kind:
    return Kind(
        group=group,
        version=version,
        kind=kind,
        plural=f"{kind.lower()}s",
        singular=kind.lower(),
        namespaced=namespaced,
        list_kind="",
        verbs=("create",),
        prepare_create=nothing,
    )


REVIEWS = (
    _review(AUTHENTICATION, "SelfSubjectReview"),
    _review(AUTHENTICATION, "TokenReview"),
    _review(AUTHORIZATION, "LocalSubjectAccessReview", namespaced=True),
    _review(AUTHORIZATION, "SelfSubjectAccessReview"),
    _review(AUTHORIZATION, "SelfSubjectRulesReview"),
    _review(AUTHORIZATION, "SubjectAccessReview"),
    _review(AUTHENTICATION, "SelfSubjectReview", version="v1beta1"),  # kubectl 1.27 knows no other
)
