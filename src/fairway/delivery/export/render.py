"""An App's environments as plain manifests, as a Kustomize base with overlays, as a Helm chart."""

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from fairway.delivery.export.chart import chart
from fairway.delivery.export.difference import difference
from fairway.delivery.export.objects import Exported as Exported
from fairway.delivery.export.objects import base_name, file_name, objects
from fairway.delivery.export.yaml_text import document, documents

Files = Mapping[str, str]
Raw = dict[str, Any]


def plain(one: Exported) -> str:
    """Everything of one environment, for `kubectl apply -f`."""
    return _notice(one) + documents(objects(one, with_namespace=True))


def kustomize(environments: Sequence[Exported]) -> Files:
    """`base/`, which is the first environment, and `overlays/<environment>/` that make the others of it.

    An object that only some environments have is in their overlays alone.
    """
    first = environments[0]
    mine = {one.environment: _by_base_name(one) for one in environments}
    common = [key for key in mine[first.environment] if all(key in found for found in mine.values())]
    base = {key: mine[first.environment][key] for key in common}
    files = {f"base/{file_name(raw)}": document(raw) for raw in base.values()}
    files["base/kustomization.yaml"] = _kustomization({"resources": sorted(file_name(raw) for raw in base.values())})
    for one in environments:
        files |= _overlay(one, base, mine[one.environment])
    return files


def helm(one: Exported) -> Files:
    """A chart whose values are the replicas, the image, the hosts and the variables."""
    return chart(one, objects(one, with_namespace=False))


def _by_base_name(one: Exported) -> dict[tuple[str, str], Raw]:
    return {(raw["kind"], base_name(one, raw["metadata"]["name"])): raw for raw in objects(one, with_namespace=False)}


def _overlay(one: Exported, base: Mapping[tuple[str, str], Raw], mine: Mapping[tuple[str, str], Raw]) -> Files:
    folder = f"overlays/{one.environment}"
    own = {file_name(raw): raw for key, raw in mine.items() if key not in base}
    patches = [patch for key, raw in base.items() if (patch := _patch(raw, mine[key]))]
    body: Raw = {"namespace": one.namespace, "resources": ["../../base", *sorted(own)]}
    if patches:
        body["patches"] = patches
    files = {f"{folder}/{name}": document(raw) for name, raw in own.items()}
    return files | {f"{folder}/kustomization.yaml": _notice(one) + _kustomization(body)}


def _patch(base: Raw, wanted: Raw) -> Raw | None:
    operations = list(difference(msgspec.to_builtins(base), msgspec.to_builtins(wanted)))
    if not operations:
        return None
    return {
        "target": {"kind": base["kind"], "name": base["metadata"]["name"]},
        "patch": "".join("- " + _indented(document(operation)) for operation in operations),
        "options": {"allowNameChange": True},
    }


def _indented(text: str) -> str:
    first, *others = text.splitlines(keepends=True)
    return first + "".join("  " + line for line in others)


def _kustomization(body: Raw) -> str:
    return document({"apiVersion": "kustomize.config.k8s.io/v1beta1", "kind": "Kustomization", **body})


def _notice(one: Exported) -> str:
    if not one.left_out:
        return ""
    return f"# Without the values of {', '.join(one.left_out)}: fill them in in Secret {one.secret_name}.\n"
