"""What a job of a pipeline file takes from others: `extends`, `default`, `!reference`."""

from collections.abc import Mapping
from typing import Any

from fairway.delivery.pipelines.document import Document, Reference
from fairway.delivery.pipelines.fields import Fields

_DEPTH_MAX = 11
DEFAULTS = ("image", "services", "before_script", "after_script", "cache", "artifacts", "retry", "timeout", "hooks")
"""What `default` (or, the old way, the top of the file) gives to jobs that do not say it."""


def whole(document: Document, name: str) -> Fields:
    """A job with everything that it inherits. Raises PipelineError."""
    merged = _resolved(document, name, _extended(document, name, ()), 0)
    return Fields(document, {**_defaults(document, merged), **merged}, (name,))


def _extended(document: Document, name: str, via: tuple[str, ...]) -> dict[str, Any]:
    own = document.root[name]
    fields = Fields(document, own, (name,))
    found: dict[str, Any] = {}
    for parent in fields.texts("extends"):
        if parent == name or parent in via:
            fields.refuse(f"{' → '.join((*via, name, parent))} goes in a circle", "extends")
        if len(via) >= _DEPTH_MAX:
            fields.refuse(f"more than {_DEPTH_MAX} levels of extends", "extends")
        if not isinstance(document.root.get(parent), dict):
            fields.refuse(f"there is no job or template {parent!r}", "extends")
        found = _merged(found, _extended(document, parent, (*via, name)))
    return _merged(found, {key: value for key, value in own.items() if key != "extends"})


def _merged(under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Mappings are merged key by key; everything else is replaced."""
    found = dict(under)
    for key, value in over.items():
        below = found.get(key)
        found[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return found


def _defaults(document: Document, job: Mapping[str, Any]) -> dict[str, Any]:
    top = Fields(document, document.root, ())
    inherit = job.get("inherit")
    wanted = inherit.get("default", True) if isinstance(inherit, dict) else True
    chosen = wanted if isinstance(wanted, list) else DEFAULTS if wanted else ()
    given = {**{key: top.values[key] for key in DEFAULTS if key in top.values}, **top.inner("default").values}
    return {key: value for key, value in given.items() if key in chosen}


def _resolved(document: Document, name: str, value: Any, depth: int) -> Any:
    """The same value with every `!reference` replaced by what it names."""
    if depth > _DEPTH_MAX:
        Fields(document, {}, (name,)).refuse("!reference leads to !reference too many times")
    if isinstance(value, Reference):
        target: Any = document.root
        for key in value.path:
            if not isinstance(target, dict) or key not in target:
                Fields(document, {}, (name,)).refuse(f"!reference [{', '.join(value.path)}] leads nowhere")
            target = target[key]
        return _resolved(document, name, target, depth + 1)
    if isinstance(value, dict):
        return {key: _resolved(document, name, item, depth) for key, item in value.items()}
    if isinstance(value, list):
        return [_resolved(document, name, item, depth) for item in value]
    return value
