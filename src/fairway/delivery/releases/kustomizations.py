"""What a kustomization may refer to: files of its own repository, and nothing that is fetched."""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from fairway.delivery.releases.world import Problem

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
_REMOTE = re.compile(
    r"^(?:[a-z][a-z0-9+.-]*::?//|[a-z0-9+.-]+::|git@|[^\s/]+@[^\s/]+:|(?:www\.)?(?:github|gitlab)\.com[:/])", re.I
)
_FOLDERS = ("resources", "bases", "components", "crds", "generators", "transformers", "validators", "configurations")
# Texts of people's own, in which a URL is just a URL.
_TEXTS = frozenset(
    ("literals", "commonAnnotations", "commonLabels", "labels", "annotations", "patch", "patches", "options")
)
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_BYTES_MAX = 1 << 20


def problem_of(root: Path) -> Problem | None:
    """What is wrong in any kustomization below `root`, which is a checkout that holds no links out of it."""
    for path in sorted(root.rglob("*")):
        if path.name in NAMES and path.is_file() and not path.is_symlink():
            for text in _problems(root, path):
                return Problem(f"{path.relative_to(root)}: {text}")
    return None


def _problems(root: Path, path: Path) -> Iterator[str]:
    if path.stat().st_size > _BYTES_MAX:
        yield f"is larger than {_BYTES_MAX} bytes"
        return
    try:
        document = yaml.load(path.read_bytes(), _LOADER)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        yield f"not YAML: {' '.join(str(error).split())[:300]}"
        return
    if not isinstance(document, Mapping):
        return
    for field in ("helmCharts", "helmChartInflationGenerator", "helmGlobals"):
        if field in document:
            yield f"{field}: charts are not fetched; use spec.deploy.mode helm"
    yield from _remote(document, "")
    for field in _FOLDERS:
        for entry in document.get(field) or ():
            if isinstance(entry, str) and "\n" not in entry and not _inside(root, path.parent / entry):
                yield f'{field}: "{entry}" is not in the repository; remote bases are not fetched'


def _remote(value: Any, field: str) -> Iterator[str]:
    if isinstance(value, Mapping):
        for key, item in value.items():
            if key not in _TEXTS:
                yield from _remote(item, f"{field}.{key}" if field else str(key))
    elif isinstance(value, list):
        for item in value:
            yield from _remote(item, field)
    elif isinstance(value, str) and _REMOTE.match(value):
        yield f'{field}: "{value[:200]}" is remote; only files of the repository are used'


def _inside(root: Path, target: Path) -> bool:
    resolved = target.resolve()
    return resolved.exists() and resolved.is_relative_to(root.resolve())
