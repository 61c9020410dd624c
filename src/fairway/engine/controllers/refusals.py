"""What an API says no to for reasons that need no retry."""

from fairway.kube.client.errors import ApiError


def namespace_is_ending(error: ApiError) -> bool:
    """Whether nothing more can be made because the namespace is being deleted."""
    causes = error.details.get("causes") or ()
    return any(cause.get("reason") == "NamespaceTerminating" for cause in causes)
