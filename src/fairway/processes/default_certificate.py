"""What the edge serves to names without a certificate of their own: signed by the sites' authority.

It names this machine (localhost and the address of --https); other names are told apart only by their own Ingress.
"""

from datetime import UTC, datetime, timedelta

from fairway.certificates import authority
from fairway.processes.instance import Settings
from fairway.toolkit import files, signing

_LIFETIME = timedelta(days=730)  # clients refuse more than 825 days
_RENEW_BEFORE = timedelta(days=180)


def ensure(settings: Settings) -> None:
    """Write `edge/edge-default.pem` unless a good one is there.  Raises OSError."""
    now = datetime.now(UTC)
    signer = authority.from_files(settings.path / "pki", now)
    path = settings.path / "edge" / "edge-default.pem"
    try:
        found = path.read_bytes()
        if signing.issued_by(found, signer.certificate) and signing.not_after(found) - now > _RENEW_BEFORE:
            return
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
    names = ("localhost", "*.localhost", *dict.fromkeys(("127.0.0.1", "::1", settings.https.reachable_host)))
    pair = signing.server(signer, names, now, _LIFETIME)
    files.replace(path, pair.certificate + pair.key, mode=0o600, durable=True)
