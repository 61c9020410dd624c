"""Names that the server makes up."""

import secrets
import uuid

_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"
"""No vowels and no look-alikes, as upstream: made-up names should not spell words."""
_SUFFIX_LENGTH = 5
_PREFIX_LENGTH_MAX = 63 - _SUFFIX_LENGTH


def generate(prefix: str) -> str:
    """`prefix` (cut to 58 characters) and five random ones."""
    return prefix[:_PREFIX_LENGTH_MAX] + "".join(secrets.choice(_ALPHABET) for _ in range(_SUFFIX_LENGTH))


def uid() -> str:
    """A new object's identity."""
    return str(uuid.uuid4())
