"""Signs approved CertificateSigningRequests of users with the cluster's CA.

The signers kubernetes.io/kube-apiserver-client and kubernetes.io/kube-apiserver-client-kubelet.
"""

import asyncio
import base64
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fairway.engine.apiserver.admission.certificates import CLIENT_SIGNER, RESOURCE
from fairway.engine.apiserver.errors import ApiError
from fairway.engine.apiserver.registry import Body, Registry, WriteOptions
from fairway.engine.apiserver.resources.certificates import APPROVED, DENIED, FAILED, conditions_of, pem_of
from fairway.engine.apiserver.store import DELETED, Entry, Event
from fairway.kube.api.meta import timestamp
from fairway.toolkit import logs
from fairway.toolkit.clock import Clock

log = logs.get("apiserver")

KUBELET_SIGNER = "kubernetes.io/kube-apiserver-client-kubelet"
_USAGES = frozenset({"client auth", "digital signature", "key encipherment"})
_YEAR = timedelta(days=365)
_BACKDATED = timedelta(minutes=5)
_OPTIONS = WriteOptions(field_manager="kube-controller-manager", field_validation="Strict")

Object = dict[str, Any]


class Refused(Exception):
    """Why a request is not signed, for whoever sent it."""


class Authority:
    """The cluster's CA. Its files are read when something is to be signed."""

    def __init__(self, certificate: Path, key: Path) -> None:
        self._certificate = certificate
        self._key = key

    def sign(self, request: Object, now: datetime) -> bytes:
        """A certificate in PEM. Raises Refused; OSError and ValueError when the CA cannot be read."""
        from cryptography import x509  # takes 35 ms, and requests are rare
        from cryptography.hazmat.primitives import hashes, serialization
        from cryptography.hazmat.primitives.asymmetric import ec
        from cryptography.x509.oid import ExtendedKeyUsageOID

        issuer = x509.load_pem_x509_certificate(self._certificate.read_bytes())
        key = serialization.load_pem_private_key(self._key.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{self._key} must hold an EC key")
        wanted = _checked(request)
        seconds = (request.get("spec") or {}).get("expirationSeconds")
        end = now + (timedelta(seconds=seconds) if seconds else _YEAR)
        usage = x509.KeyUsage(True, False, True, False, False, False, False, False, False)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(wanted.subject)
            .issuer_name(issuer.subject)
            .public_key(wanted.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BACKDATED)
            .not_valid_after(min(end, issuer.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(usage, critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


def _checked(request: Object) -> Any:
    """The parsed request, if this signer signs such. Raises Refused."""
    from cryptography import x509
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.x509.oid import NameOID

    spec = request.get("spec") or {}
    try:
        wanted = x509.load_pem_x509_csr(pem_of(request))
        if not wanted.is_signature_valid:
            raise Refused("the signature of the request is not valid")
    except (ValueError, UnsupportedAlgorithm) as error:
        raise Refused(f"unable to parse csr: {error}") from error
    usages = set(spec.get("usages") or ())
    if "client auth" not in usages or not usages <= _USAGES:
        raise Refused(f"invalid usage for client certificate: {sorted(usages)}")
    if spec.get("signerName") == KUBELET_SIGNER:
        groups = [each.value for each in wanted.subject.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)]
        names = [each.value for each in wanted.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
        if groups != ["system:nodes"]:
            raise Refused("subject organization is not system:nodes")
        if not names or not str(names[0]).startswith("system:node:"):
            raise Refused("subject common name does not begin with system:node: ")
    return wanted


class Signing:
    """Looks at every request as soon as it changes."""

    def __init__(self, registry: Registry, authority: Authority, clock: Clock) -> None:
        self._registry = registry
        self._authority = authority
        self._clock = clock
        self._dirty = asyncio.Event()

    async def run(self) -> None:
        """Until cancelled."""
        store = self._registry.store
        store.subscribe(RESOURCE, self._changed)
        self._dirty.set()
        try:
            while True:
                await self._dirty.wait()
                self._dirty.clear()
                for entry in store.select(RESOURCE):
                    await self._look(entry)
        finally:
            store.unsubscribe(RESOURCE, self._changed)

    def _changed(self, event: Event) -> None:
        if event.type != DELETED:
            self._dirty.set()

    async def _look(self, entry: Entry) -> None:
        request = entry.object()
        if not _is_due(request):
            return
        status = request.setdefault("status", {})
        try:
            pem = self._authority.sign(request, self._clock.now())
            status["certificate"] = base64.b64encode(pem).decode()
        except Refused as refused:
            status["conditions"] = [*(status.get("conditions") or ()), self._failed(str(refused))]
        except (OSError, ValueError) as error:
            log.error("failed to sign", request=entry.key.name, error=error)
            return
        await self._write(entry, request)

    def _failed(self, why: str) -> Object:
        now = timestamp(self._clock.now())
        condition = {"type": FAILED, "status": "True", "reason": "SignerValidationFailure", "message": why}
        return {**condition, "lastUpdateTime": now, "lastTransitionTime": now}

    async def _write(self, entry: Entry, request: Object) -> None:
        kind = self._registry.kinds.find("certificates.k8s.io", "v1", "certificatesigningrequests")
        assert kind is not None
        try:
            await self._registry.update(kind, "", entry.key.name, Body(request), _OPTIONS, "status")
            log.info("signed", request=entry.key.name, failed=FAILED in conditions_of(request))
        except ApiError as error:
            if error.code not in (404, 409):  # gone or changed meanwhile: its event brings another look
                log.warning("failed to store a certificate", request=entry.key.name, error=error)


def _is_due(request: Object) -> bool:
    known = conditions_of(request)
    signer = (request.get("spec") or {}).get("signerName")
    if APPROVED not in known or DENIED in known or FAILED in known or signer not in (CLIENT_SIGNER, KUBELET_SIGNER):
        return False
    return not (request.get("status") or {}).get("certificate")
