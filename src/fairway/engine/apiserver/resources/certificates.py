"""CertificateSigningRequests: somebody asks for a certificate, somebody else approves, a signer signs.

Follows the documentation "Certificates and Certificate Signing Requests".
"""

import base64
import binascii
from datetime import datetime
from typing import Any

from fairway.engine.apiserver.resources import ages, causes
from fairway.engine.apiserver.resources.kind import (
    AGE,
    NAME,
    Cause,
    Column,
    Kind,
    Object,
    age_of,
    carry,
    drop_status,
    name_of,
    only_status,
)

APPROVED, DENIED, FAILED = "Approved", "Denied", "Failed"
USAGES = (
    "any", "cert sign", "client auth", "code signing", "content commitment", "crl sign", "data encipherment",
    "decipher only", "digital signature", "email protection", "encipher only", "ipsec end system", "ipsec tunnel",
    "ipsec user", "key agreement", "key encipherment", "microsoft sgc", "netscape sgc", "ocsp signing", "s/mime",
    "server auth", "signing", "timestamping",
)  # fmt: skip
_DECISIONS = (APPROVED, DENIED, FAILED)
_SECONDS_MIN = 600


def conditions_of(request: Object) -> dict[str, Object]:
    """The conditions by type."""
    return {each.get("type") or "": each for each in (request.get("status") or {}).get("conditions") or ()}


def prepare_update(new: Object, old: Object) -> None:
    """Only metadata changes."""
    carry(new, old, "spec")
    carry(new, old, "status")


def prepare_approval(new: Object, old: Object) -> None:
    """Through `approval` only conditions change."""
    only_status(new, old)
    status = {**(old.get("status") or {})}
    conditions = (new.get("status") or {}).get("conditions")
    status.pop("conditions", None)
    new["status"] = {**status, **({"conditions": conditions} if conditions else {})}


def prepare_status(new: Object, old: Object) -> None:
    """Through `status` the certificate comes; approvals stay as they are."""
    only_status(new, old)
    status = {**(new.get("status") or {})}
    decided = [each for kind, each in conditions_of(old).items() if kind in (APPROVED, DENIED)]
    others = [each for kind, each in conditions_of(new).items() if kind not in (APPROVED, DENIED)]
    status.pop("conditions", None)
    new["status"] = {**status, **({"conditions": [*decided, *others]} if decided or others else {})}


def validate(new: Object, old: Object | None) -> list[Cause]:
    """The request is one, somebody is to sign it for something, and it is not both approved and denied."""
    found = _spec(new.get("spec") or {}) if old is None else []
    conditions = conditions_of(new)
    if APPROVED in conditions and DENIED in conditions:
        says = "Approved and Denied conditions are mutually exclusive"
        found.append(causes.invalid(f"status.conditions[{list(conditions).index(DENIED)}].type", DENIED, says))
    for index, (kind, condition) in enumerate(conditions.items()):
        if kind in _DECISIONS and condition.get("status") != "True":
            found.append(causes.unsupported(f"status.conditions[{index}].status", condition.get("status"), ("True",)))
    return found + (_kept(new, old) if old is not None else [])


def row(request: Object, now: datetime) -> list[object]:
    """One cell per column."""
    spec = request.get("spec") or {}
    seconds = spec.get("expirationSeconds")
    duration = ages.human(seconds) if seconds else "<none>"
    return [
        name_of(request),
        age_of(request, now),
        spec.get("signerName") or "<none>",
        spec.get("username") or "",
        duration,
        _condition(request),
    ]


def selectable(request: Object) -> dict[str, str]:
    """The field selectors of requests."""
    return {"spec.signerName": str((request.get("spec") or {}).get("signerName") or "")}


def pem_of(request: Object) -> bytes:
    """The request in PEM. Raises ValueError."""
    text = (request.get("spec") or {}).get("request") or ""
    try:
        pem = base64.b64decode(text, validate=True)
    except binascii.Error as error:
        raise ValueError("must be base64") from error
    if b"-----BEGIN CERTIFICATE REQUEST-----" not in pem:
        raise ValueError("PEM block type must be CERTIFICATE REQUEST")
    return pem


def _spec(spec: Object) -> list[Cause]:
    found: list[Cause] = []
    try:
        pem_of({"spec": spec})
    except ValueError as error:
        found.append(causes.invalid("spec.request", spec.get("request"), str(error)))
    if not spec.get("usages"):
        found.append(causes.required("spec.usages", "usages are required"))
    for index, usage in enumerate(spec.get("usages") or ()):
        if usage not in USAGES:
            found.append(causes.unsupported(f"spec.usages[{index}]", usage, USAGES))
    found += _signer(str(spec.get("signerName") or ""))
    seconds = spec.get("expirationSeconds")
    if seconds is not None and seconds < _SECONDS_MIN:
        says = "may not specify a duration less than 600 seconds (10 minutes)"
        found.append(causes.invalid("spec.expirationSeconds", seconds, says))
    return found


def _signer(name: str) -> list[Cause]:
    if not name:
        return [causes.required("spec.signerName")]
    domain, separator, path = name.partition("/")
    if separator and path and "." in domain:
        return []
    says = "must be a fully qualified domain and path of the form 'example.com/signer-name'"
    return [causes.invalid("spec.signerName", name, says)]


def _kept(new: Object, old: Object) -> list[Cause]:
    found: list[Cause] = []
    before, after = conditions_of(old), conditions_of(new)
    for kind in _DECISIONS:
        if kind in before and kind not in after:
            says = f'updates may not remove a condition of type "{kind}"'
            found.append(Cause("FieldValueForbidden", f"Forbidden: {says}", "status.conditions"))
    held = (old.get("status") or {}).get("certificate")
    if held and (new.get("status") or {}).get("certificate") != held:
        says = "updates may not change an existing certificate"
        found.append(Cause("FieldValueForbidden", f"Forbidden: {says}", "status.certificate"))
    return found


def _condition(request: Object) -> str:
    known: dict[str, Any] = conditions_of(request)
    shown = [kind for kind in (APPROVED, DENIED, FAILED) if kind in known] or ["Pending"]
    if (request.get("status") or {}).get("certificate"):
        shown.append("Issued")
    return ",".join(shown)


CERTIFICATE_SIGNING_REQUESTS = Kind(
    group="certificates.k8s.io",
    version="v1",
    kind="CertificateSigningRequest",
    plural="certificatesigningrequests",
    singular="certificatesigningrequest",
    namespaced=False,
    list_kind="CertificateSigningRequestList",
    short_names=("csr",),
    subresources=("approval", "status"),
    columns=(
        NAME,
        AGE,
        Column("SignerName", "string", "Who is to sign."),
        Column("Requestor", "string", "Who asked."),
        Column("RequestedDuration", "string", "How long the certificate is to be valid."),
        Column("Condition", "string", "What has been decided."),
    ),
    row=row,
    prepare_create=drop_status,
    prepare_update=prepare_update,
    prepare_status=prepare_status,
    prepare_parts={"approval": prepare_approval},
    validate=validate,
    selectable=selectable,
)
