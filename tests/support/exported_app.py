"""An App's environments as `fairway export` finds them, without a cluster."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fairway.delivery.export import Exported
from fairway.delivery.kinds.apps import App, environments
from fairway.delivery.releases.translate import generated
from fairway.kube.api.noun import decode

IMAGE = "registry.example.com/site@sha256:" + "a" * 64
COMMIT = "c" * 40
Raw = dict[str, Any]
SPEC: Raw = {
    "environments": [
        {"name": "staging", "domains": ["staging.example.com"]},
        {"name": "production", "domains": ["site.example.com", "www.example.com"], "replicas": 3},
        {"name": "internal"},
    ],
    "deploy": {"annotations": {"note": "a {{ brace }} and a ~ and a /"}},
}


def app(**spec: Any) -> App:
    return decode(App, {"metadata": {"name": "site", "namespace": "shop", "uid": "1"}, "spec": spec})


def exported(made: App, commit: str = COMMIT, **more: Any) -> tuple[Exported, ...]:
    found = []
    for environment in environments(made):
        configuration = f"site-{environment.name}-env-12345678"
        objects = generated(made, environment, image=IMAGE, port=80, commit=commit, configuration=configuration)
        given = {"variables": {"COLOR": environment.name}, "left_out": ("PASSWORD",), **more}
        found.append(Exported("site", environment.name, objects, IMAGE, configuration, **given))
    return tuple(found)


def write(folder: Path, files: Mapping[str, str]) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
