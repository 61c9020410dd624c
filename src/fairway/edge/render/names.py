"""What is said instead of a backend's name where that must not change when the backend gets another place."""

import hashlib

INNER_MAP = "maps/inner.map"
"""From these names to those that HAProxy has."""


def own_name(backend: str) -> str:
    """Short, and made of letters and digits."""
    return f"i{hashlib.sha256(backend.encode()).hexdigest()[:12]}"
