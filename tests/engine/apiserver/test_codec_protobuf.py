"""Protobuf bodies as kubectl 1.33 sent them, against the JSON that the same kubectl prints of the same object."""

import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fairway.engine.apiserver.codec import protobuf
from fairway.engine.apiserver.codec.protobuf import decode, read
from fairway.engine.apiserver.codec.wire import WIRE, Code

BODIES = sorted((Path(__file__).parent / "bodies").glob("*.pb"))
WHOLE = (Path(__file__).parent / "bodies" / "job-from-cronjob.pb").read_bytes()


@pytest.mark.parametrize("body", BODIES, ids=lambda path: path.stem)
def test_a_body_of_kubectl_decodes_to_what_kubectl_prints(body: Path) -> None:
    decoded = read(body.read_bytes())
    assert decoded.object == json.loads(body.with_suffix(".json").read_text())
    assert decoded.skipped == 0


def test_zero_of_a_pointer_is_kept_and_zero_of_a_plain_field_is_not() -> None:
    deployment = decode((Path(__file__).parent / "bodies" / "deployment-zero.pb").read_bytes())
    assert deployment["spec"]["replicas"] == 0
    assert "minReadySeconds" not in deployment["spec"]


def _varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    encoded = b""
    while value > 127:
        encoded += bytes([value & 127 | 128])
        value >>= 7
    return encoded + bytes([value])


def _field(number: int, content: bytes | int) -> bytes:
    if isinstance(content, int):
        return _varint(number << 3) + _varint(content)
    return _varint(number << 3 | 2) + _varint(len(content)) + content


def _body(api_version: str, kind: str, raw: bytes) -> bytes:
    meta = _field(1, api_version.encode()) + _field(2, kind.encode())
    return b"k8s\0" + _field(1, meta) + _field(2, raw)


def test_map_entries_without_a_value_and_negative_numbers() -> None:
    metadata = _field(1, _field(1, b"n") + _field(11, _field(1, b"empty")))
    pod_spec = _field(2, _field(4, -1 & ((1 << 64) - 1)))
    pod = decode(_body("v1", "Pod", metadata + pod_spec))
    assert pod["metadata"] == {"name": "n", "labels": {"empty": ""}}
    assert pod["spec"] == {"terminationGracePeriodSeconds": -1}


def test_times_have_the_precision_of_their_type_and_zero_times_vanish() -> None:
    moment = _field(1, 1_700_000_000) + _field(2, 123_456_789)
    lease = decode(_body("coordination.k8s.io/v1", "Lease", _field(1, _field(8, b"")) + _field(2, _field(4, moment))))
    assert lease["metadata"] == {}
    assert lease["spec"] == {"renewTime": "2023-11-14T22:13:20.123456Z"}


def test_unknown_numbers_are_skipped_and_counted() -> None:
    decoded = read(_body("v1", "ConfigMap", _field(999, b"x") + _field(1, _field(1, b"n") + _field(998, 1))))
    assert decoded.object["metadata"] == {"name": "n"}
    assert decoded.skipped == 2


def test_options_are_known_in_every_group() -> None:
    options = decode(_body("apps/v1", "DeleteOptions", _field(1, 0) + _field(4, b"Foreground")))
    assert options == {
        "kind": "DeleteOptions",
        "apiVersion": "apps/v1",
        "gracePeriodSeconds": 0,
        "propagationPolicy": "Foreground",
    }


def test_every_message_that_a_field_names_is_described() -> None:
    names = WIRE.names()
    for name in names:
        for field in WIRE.message(name).values():
            assert field.code not in (Code.MESSAGE, Code.ALTERNATIVE) or field.message in names
    assert len(names) > 500


@pytest.mark.parametrize(
    ("body", "message"),
    [
        pytest.param(b"", "expected prefix", id="empty"),
        pytest.param(b"{}", "expected prefix", id="json"),
        pytest.param(b"k8s\0", "Kind", id="no type"),
        pytest.param(_body("fairway.dev/v1", "App", b""), "fairway.dev/v1", id="a custom resource"),
        pytest.param(_body("v1", "Pod", b"\x0a\x7f"), "EOF", id="truncated"),
        pytest.param(_body("v1", "Pod", b"\xff" * 11), "overflow", id="varint too long"),
        pytest.param(_body("v1", "Pod", _field(1, 5)), "wireType", id="a number where a message belongs"),
        pytest.param(_body("v1", "Pod", _field(1, _field(1, b"\xff\xfe"))), "utf-8", id="not UTF-8"),
        pytest.param(_body("v1", "Pod", b"\x0b"), "wireType 3", id="a group"),
    ],
)
def test_a_body_that_cannot_be_read_says_why(body: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        decode(body)


def _crd(schema: bytes) -> bytes:
    version = _field(1, b"v1") + _field(2, 1) + _field(3, 0) + _field(4, _field(1, schema))
    return _body("apiextensions.k8s.io/v1", "CustomResourceDefinition", _field(2, _field(7, version)))


def test_the_schema_of_a_custom_resource_definition() -> None:
    string = _field(5, b"string") + _field(8, _field(1, b'"x"')) + _field(14, 0)
    listed = _field(5, b"array") + _field(24, _field(1, string))
    free = _field(5, b"object") + _field(30, _field(1, 1)) + _field(38, 1)
    closed = _field(30, _field(1, 0))
    properties = b"".join(
        _field(29, _field(1, name) + _field(2, schema))
        for name, schema in ((b"s", string), (b"l", listed), (b"f", free), (b"c", closed))
    )
    crd = decode(_crd(_field(5, b"object") + properties + _field(23, b"s")))
    item = {"type": "string", "default": "x", "minLength": 0}
    assert crd["spec"]["versions"] == [
        {
            "name": "v1",
            "served": True,
            "storage": False,
            "schema": {
                "openAPIV3Schema": {
                    "type": "object",
                    "required": ["s"],
                    "properties": {
                        "s": item,
                        "l": {"type": "array", "items": item},
                        "f": {
                            "type": "object",
                            "additionalProperties": True,
                            "x-kubernetes-preserve-unknown-fields": True,
                        },
                        "c": {"additionalProperties": False},
                    },
                }
            },
        }
    ]


def test_a_body_nested_without_end_is_refused() -> None:
    schema = b""
    for _ in range(protobuf.DEPTH_MAX + 2):
        schema = _field(28, schema)
    with pytest.raises(ValueError, match="nested too deeply"):
        decode(_crd(schema))


@settings(max_examples=300, deadline=None)
@given(st.integers(0, len(WHOLE) - 1), st.binary(min_size=0, max_size=6), st.integers(0, 8))
def test_a_damaged_body_is_an_object_or_a_value_error(at: int, patch: bytes, gone: int) -> None:
    damaged = WHOLE[:at] + patch + WHOLE[at + gone :]
    try:
        assert isinstance(decode(damaged), dict)
    except ValueError:
        pass
