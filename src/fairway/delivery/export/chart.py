"""A Helm chart of plain objects: the places that differ from one installation to the next become values."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from fairway.delivery.export.objects import Exported, file_name
from fairway.delivery.export.yaml_text import document
from fairway.delivery.releases.objects import hosts_of, pod_template

Raw = dict[str, Any]
Files = Mapping[str, str]
_ENV = """\
stringData:
  {{- range $name, $value := .Values.env }}
  {{ $name | quote }}: {{ $value | quote }}
  {{- end }}
"""
_RULES = """\
  rules:
    {{- range .Values.hosts }}
    - host: {{ . | quote }}
"""
_TLS_ALL = """\
  tls:
    - hosts: {{ .Values.hosts | toJson }}
"""
_TLS_EACH = """\
  tls:
    {{- range .Values.hosts }}
    - hosts:
        - {{ . | quote }}
      secretName: "{{ . | replace "*." "wildcard." }}-tls"
    {{- end }}
"""
_REPLICAS = "fairway-mark-replicas"
_IMAGE = "fairway-mark-image"
_CHECKSUM = "fairway-mark-checksum"
_RULE = "fairway-mark-rules"
_EXPRESSIONS = {
    _REPLICAS: "{{ .Values.replicas }}",
    _IMAGE: "{{ .Values.image | quote }}",
    _CHECKSUM: "{{ .Values.env | toJson | sha256sum | quote }}",
}


def chart(one: Exported, objects: Sequence[Raw]) -> Files:
    """Chart.yaml, values.yaml and a template for each object."""
    deployments = [raw for raw in objects if raw["kind"] == "Deployment"]
    ingresses = [raw for raw in objects if raw["kind"] == "Ingress"]
    scaled = deployments[0] if len(deployments) == 1 else None
    routed = ingresses[0] if len(ingresses) == 1 and _alike(ingresses[0]) else None
    values: Raw = {}
    if scaled is not None:
        values["replicas"] = scaled["spec"].get("replicas", 1)
    if one.image:
        values["image"] = one.image
    if routed is not None:
        values["hosts"] = list(hosts_of((routed,)))
    if one.configuration:
        values["env"] = {**one.variables, **dict.fromkeys(one.left_out, "")}
    files = {f"templates/{file_name(raw)}": _template(one, raw, raw is scaled, raw is routed) for raw in objects}
    about = {
        "apiVersion": "v2",
        "name": one.app,
        "description": f"{one.app} as it ran in {one.environment}",
        "type": "application",
        "version": "0.1.0",
    }
    return {"Chart.yaml": document(about), "values.yaml": _values(one, values), **files}


def _values(one: Exported, values: Raw) -> str:
    left = f"# Without the values of {', '.join(one.left_out)}: fill them in.\n" if one.left_out else ""
    return left + (document(values) if values else "{}\n")


def _template(one: Exported, raw: Raw, scaled: bool, routed: bool) -> str:
    if one.configuration and raw["kind"] == "Secret" and raw["metadata"]["name"] == one.secret_name:
        return _escaped(document({key: value for key, value in raw.items() if key != "stringData"})) + _ENV
    if routed:
        return _ingress(raw)
    return _workload(one, raw, scaled)


def _workload(one: Exported, raw: Raw, scaled: bool) -> str:
    if scaled:
        raw = {**raw, "spec": {**raw["spec"], "replicas": _REPLICAS}}
    template = pod_template(raw)
    if isinstance(template, dict):
        for group in ("initContainers", "containers"):
            for container in template.get("spec", {}).get(group) or ():
                if one.image and container.get("image") == one.image:
                    container["image"] = _IMAGE
        if one.configuration:
            # Pods read variables when they start: a changed value must start new ones.
            template.setdefault("metadata", {}).setdefault("annotations", {})["checksum/env"] = _CHECKSUM
    return _filled(document(raw))


def _ingress(raw: Raw) -> str:
    spec = raw["spec"]
    rest = {key: value for key, value in spec.items() if key not in ("tls", "rules")}
    head = _escaped(document({**raw, "spec": {**rest, "rules": _RULE}}))
    http = textwrap.indent(_escaped(document({"http": spec["rules"][0]["http"]})), " " * 6)
    rules = _RULES + http + "    {{- end }}\n"
    certificates = _certificates(raw) or ""
    return "{{- if .Values.hosts }}\n" + head.replace(f"  rules: {_RULE}\n", certificates + rules) + "{{- end }}\n"


def _certificates(ingress: Raw) -> str | None:
    """`spec.tls` for any list of hosts: a Secret for each, or one for all; None when it is neither."""
    entries = [(list(tls.get("hosts") or ()), tls.get("secretName", "")) for tls in ingress["spec"].get("tls") or ()]
    hosts = [rule["host"] for rule in ingress["spec"]["rules"]]
    if not entries:
        return ""
    if entries == [([host], _secret_name(host)) for host in hosts]:
        return _TLS_EACH
    if len(entries) == 1 and entries[0][0] == hosts:
        return _TLS_ALL + f"      secretName: {entries[0][1]}\n"
    return None


def _secret_name(host: str) -> str:
    """As the template says it; for nearly all hosts that is `tls_secret_name`."""
    return host.replace("*.", "wildcard.") + "-tls"


def _alike(ingress: Raw) -> bool:
    """Whether every host is routed alike, so that a list of hosts is all there is to say."""
    rules = list(ingress["spec"].get("rules") or ())
    same = bool(rules) and all(rule.get("host") and rule.get("http") == rules[0].get("http") for rule in rules)
    return same and _certificates(ingress) is not None


def _filled(text: str) -> str:
    text = _escaped(text)
    for mark, expression in _EXPRESSIONS.items():
        text = text.replace(mark, expression)
    return text


def _escaped(text: str) -> str:
    """Text of the objects is no template."""
    return text.replace("{{", '{{ "{{" }}')
