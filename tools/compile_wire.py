"""Write the protobuf field numbers of the Kubernetes API, from a kubectl program, into `codec/wire.msgpack`.

    python tools/compile_wire.py /path/to/kubectl-1.33

Field numbers are facts of the wire format: they never change, they only grow in number.  The program carries, for
reflection, every struct with its tags, such as `json:"replicas,omitempty" protobuf:"varint,1,opt,name=replicas"`, and
whether a field is a pointer; `tools/go_types.py` reads them.  A kind that kubectl does not know is added in
`tools/wire_additions.py`, by hand.

The program must be a static Linux executable for amd64 or arm64; a `kubectl` that only dispatches to others is not.
"""

import argparse
import datetime
import hashlib
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import go_types
import msgspec
import wire_additions
from go_types import GoField, GoProgram, GoType

TARGET = Path(__file__).parent.parent / "src/fairway/engine/apiserver/codec"
PACKAGE = re.compile(r"k8s\.io/(?:api/(\w+)/(v\d+)|apimachinery/pkg/apis/(meta)/(v1))$")
SCALARS = {
    go_types.STRING: "string",
    go_types.BOOL: "bool",
    go_types.INT32: "int",
    go_types.INT64: "int",
    go_types.FLOAT64: "double",
}
# Structs whose JSON is not an object of their fields.
SPECIAL = {
    "Quantity": "quantity",
    "IntOrString": "int-or-string",
    "Time": "time",
    "MicroTime": "microtime",
    "RawExtension": "raw",
    "FieldsV1": "raw",
}
REPEATED, MAP, INLINE, KEEP_ZERO = 1, 2, 4, 8


def message_name(type: GoType) -> str:
    """`core.v1.Pod` for the struct Pod of k8s.io/api/core/v1; empty for a struct of another place."""
    match = PACKAGE.match(type.package)
    return ".".join((*filter(None, match.groups()), type.name)) if match else ""


def value_code(type: GoType) -> tuple[str, str]:
    """What a value is on the wire, and the message it is made of, if any."""
    if type.kind == go_types.SLICE:
        return ("bytes", "") if type.elem and type.elem.kind == go_types.UINT8 else ("items", "")
    if type.kind != go_types.STRUCT:
        return SCALARS[type.kind], ""
    return (SPECIAL[type.name], "") if type.name in SPECIAL else ("message", message_name(type))


def pointed(type: GoType) -> GoType:
    """What a pointer points to; any other type is itself."""
    return type.elem if type.kind == go_types.POINTER and type.elem else type


def is_repeated(type: GoType) -> bool:
    """Whether a slice is a repeated field: one with a name is a message of items; the tag says `opt` for either."""
    return type.kind == go_types.SLICE and not type.name and not (type.elem and type.elem.kind == go_types.UINT8)


def entry(field: GoField) -> list[Any] | None:
    """`[number, JSON name, code, message, flags]` of one struct member; None when it is not on the wire."""
    tag = field.tags.get("protobuf", "-").split(",")
    if tag == ["-"]:
        return None
    name, _, options = field.tags.get("json", "").partition(",")
    held, flags = field.type, 0 if name else INLINE
    pointer = held.kind == go_types.POINTER
    if pointer or "omitempty" not in options:
        flags |= KEEP_ZERO
    held = pointed(held)
    if held.kind == go_types.MAP and held.elem:
        held, flags = held.elem, flags | MAP
    elif is_repeated(held) and held.elem:
        held, flags = pointed(held.elem), flags | REPEATED
    code, message = value_code(held)
    return [int(tag[1]), name, code, message, flags]


def messages(structs: dict[str, GoType]) -> dict[str, list[list[Any]]]:
    """Every message of the stable API groups, by name, with its fields by number."""
    found: dict[str, list[list[Any]]] = {}
    for go_type in structs.values():
        if message_name(go_type) and go_type.name not in SPECIAL:
            entries = sorted(filter(None, map(entry, go_type.fields)))
            if entries:
                found[message_name(go_type)] = entries
    return dict(sorted(found.items()))


def missing(table: dict[str, list[list[Any]]]) -> set[str]:
    """Messages that are referred to and not described; there must be none."""
    referred = {entry[3] for entries in table.values() for entry in entries if entry[3]}
    return referred - table.keys()


def version(program: Path) -> str:
    """The version that the program tells."""
    answer = subprocess.run([program, "version", "--client"], capture_output=True, text=True, check=True)
    match = re.search(r"v\d+\.\d+\.\d+", answer.stdout)
    return match.group() if match else "of an unknown version"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("kubectl", type=Path)
    program = parser.parse_args().kubectl
    table = messages(GoProgram(program).structs()) | wire_additions.MESSAGES
    if not table or missing(table):
        sys.exit(f"cannot use {program}: {len(table)} messages, not described: {sorted(missing(table))}")
    body = msgspec.msgpack.encode(table)
    (TARGET / "wire.msgpack").write_bytes(body)
    fields = sum(map(len, table.values()))
    (TARGET / "wire.provenance.txt").write_text(
        "wire.msgpack: numbers, names, types, pointers and inlined structs of the Kubernetes API's protobuf messages.\n"
        f"Made by tools/compile_wire.py on {datetime.date.today().isoformat()} from the struct tags in\n"  # noqa: DTZ011
        f"kubectl {version(program)}, linux, SHA-256 {hashlib.sha256(program.read_bytes()).hexdigest()}.\n"
        f"{len(table)} messages, {fields} fields, stable versions only; of them by hand, from the public API\n"
        f"documentation (tools/wire_additions.py): {len(wire_additions.MESSAGES)} messages.\n"
    )
    print(f"{len(table)} messages, {fields} fields, {len(body)} bytes")


if __name__ == "__main__":
    main()
