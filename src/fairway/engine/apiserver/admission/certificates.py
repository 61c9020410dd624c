"""Who asks for a certificate is written down, and who approves or signs must be allowed to.

The plugins CertificateApproval, CertificateSigning and CertificateSubjectRestriction.
"""

from collections.abc import Callable
from typing import Any

from fairway.engine.apiserver import errors
from fairway.engine.apiserver.admission.review import CREATE, UPDATE, Review
from fairway.engine.apiserver.authentication import MASTERS
from fairway.engine.apiserver.authorization import Attributes, Authorization
from fairway.engine.apiserver.resources.certificates import FAILED, conditions_of, pem_of
from fairway.kube.api.meta import timestamp
from fairway.toolkit.clock import Clock

RESOURCE = "certificates.k8s.io/certificatesigningrequests"
CLIENT_SIGNER = "kubernetes.io/kube-apiserver-client"

Object = dict[str, Any]


def plugin(authorization: Authorization, clock: Clock) -> Callable[[Review], None]:
    """The plugin over what is decided by `authorization`."""

    def admit(review: Review) -> None:
        if review.key.resource != RESOURCE or review.obj is None:
            return
        if review.operation == CREATE:
            _sign_with_name(review, review.obj)
            _check_subject(review, review.obj)
        elif review.operation == UPDATE and review.old is not None:
            _check_update(review, review.obj, review.old, authorization)
            if review.subresource == "approval":
                _stamp(review.obj, review.old, timestamp(clock.now()))

    return admit


def _sign_with_name(review: Review, request: Object) -> None:
    """Nobody asks in somebody else's name."""
    info = review.user.info()
    spec = request["spec"] = dict(request.get("spec") or {})
    for key in ("username", "uid", "groups", "extra"):
        spec.pop(key, None)
        if info.get(key):
            spec[key] = info[key]


def _check_subject(review: Review, request: Object) -> None:
    """No certificate makes anybody a master."""
    if (request.get("spec") or {}).get("signerName") != CLIENT_SIGNER:
        return
    from cryptography import x509  # takes 35 ms, and requests are rare
    from cryptography.x509.oid import NameOID

    try:
        subject = x509.load_pem_x509_csr(pem_of(request)).subject
    except ValueError:
        return  # validation says what is wrong with it
    if any(each.value == MASTERS for each in subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)):
        why = f"use of {CLIENT_SIGNER} signer with {MASTERS} group is not allowed"
        raise errors.forbidden(review.subject, why)


def _check_update(review: Review, new: Object, old: Object, authorization: Authorization) -> None:
    signer = str((old.get("spec") or {}).get("signerName") or "")
    if review.subresource == "approval":
        verb = "approve"
    elif review.subresource == "status" and _signs(new, old):
        verb = "sign"
    else:
        return
    names = (signer, f"{signer.partition('/')[0]}/*")
    group = "certificates.k8s.io"
    wanted = [Attributes(review.user, verb, "", group, "*", "signers", name=name) for name in names]
    if not any(authorization.allows(attributes) for attributes in wanted):
        raise errors.forbidden(review.subject, f'user not permitted to {verb} requests with signerName "{signer}"')


def _signs(new: Object, old: Object) -> bool:
    certificates = [(each.get("status") or {}).get("certificate") for each in (new, old)]
    return certificates[0] != certificates[1] or (FAILED in conditions_of(new)) != (FAILED in conditions_of(old))


def _stamp(new: Object, old: Object, now: str) -> None:
    """New conditions say since when."""
    known = conditions_of(old)
    for kind, condition in conditions_of(new).items():
        if not condition.get("lastUpdateTime"):
            condition["lastUpdateTime"] = now
        if not condition.get("lastTransitionTime"):
            before = known.get(kind) or {}
            same = before.get("status") == condition.get("status")
            condition["lastTransitionTime"] = before.get("lastTransitionTime", now) if same else now
