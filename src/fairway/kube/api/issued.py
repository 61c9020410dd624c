"""How a Secret says that the certificate in it is one of Fairway's own authority."""

import hashlib

from fairway.kube.api.config import Secret

LABEL = "certificates.fairway.dev/issuer"
ISSUER = "internal"
CONTENT = "certificates.fairway.dev/content"
TYPE = "kubernetes.io/tls"


def is_issued(secret: Secret) -> bool:
    """Whether Fairway made the Secret and nobody has put another certificate into it since."""
    if secret.metadata.labels.get(LABEL) != ISSUER or secret.type != TYPE:
        return False
    return secret.metadata.annotations.get(CONTENT) == content_mark(secret.data.get("tls.crt", ""))


def content_mark(certificate_base64: str) -> str:
    """What tells the certificate that was written from any other."""
    return hashlib.sha256(certificate_base64.encode()).hexdigest()[:32]
