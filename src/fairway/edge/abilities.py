"""What the HAProxy that runs cannot do of what Ingresses ask for. Pure; the translation knows no version."""

from collections.abc import Mapping

from fairway.edge.ir import Problem
from fairway.edge.translate.part import Part
from fairway.kube.api.meta import ObjectKey

BANDWIDTH_LIMITS_SINCE = (2, 7)


def lacking(parts: Mapping[ObjectKey, Part], version: tuple[int, int]) -> tuple[Problem, ...]:
    """A problem for every Ingress that is obeyed in part because HAProxy is of this version."""
    if version >= BANDWIDTH_LIMITS_SINCE:
        return ()
    slow = (owner for owner, part in parts.items() if part.settings.limit_rate)
    return tuple(Problem(owner, "PartialAnnotation", _message(version)) for owner in slow)


def _message(version: tuple[int, int]) -> str:
    running, needed = (".".join(map(str, one)) for one in (version, BANDWIDTH_LIMITS_SINCE))
    return (
        f"annotation nginx.ingress.kubernetes.io/limit-rate has no effect with HAProxy {running}; "
        f"install HAProxy {needed} or newer, and answers are slowed down"
    )
