"""An OpenAPI v2 document as protobuf: messages and field numbers of gnostic's `openapi.v2`.

The only encoder of protobuf here: kubectl before 1.29 takes this one document in no other form.
"""

from collections.abc import Mapping
from typing import Any, Final

import msgspec

_METHODS: Final = {"get": 2, "put": 3, "post": 4, "delete": 5, "options": 6, "head": 7, "patch": 8}
_TEXT: Final = 2


def encode(document: Mapping[str, Any]) -> bytes:
    """A message `Document`."""
    paths = b"".join(_message(2, _named(name, _path(item))) for name, item in document["paths"].items())
    definitions = b"".join(
        _message(1, _named(name, _schema(schema))) for name, schema in document["definitions"].items()
    )
    info = _text(1, document["info"]["title"]) + _text(2, document["info"]["version"])
    return _text(1, document["swagger"]) + _message(2, info) + _message(8, paths) + _message(9, definitions)


# --- messages


def _path(item: Mapping[str, Any]) -> bytes:
    return b"".join(_message(_METHODS[method], _operation(operation)) for method, operation in item.items())


def _operation(operation: Mapping[str, Any]) -> bytes:
    parameters = b"".join(_message(8, _parameter(parameter)) for parameter in operation["parameters"])
    responses = b"".join(
        _message(1, _named(code, _message(1, _text(1, response["description"]))))
        for code, response in operation["responses"].items()
    )
    return parameters + _message(9, responses) + _extensions(13, operation)


def _parameter(parameter: Mapping[str, Any]) -> bytes:
    """ParametersItem > Parameter > NonBodyParameter > QueryParameterSubSchema."""
    query = _text(2, parameter["in"]) + _text(4, parameter["name"]) + _text(6, parameter["type"])
    return _message(1, _message(2, _message(3, query)))


def _schema(schema: Mapping[str, Any]) -> bytes:
    parts = [_text(1, schema.get("$ref")), _text(2, schema.get("format")), _text(4, schema.get("description"))]
    parts += [_text(19, name) for name in schema.get("required") or ()]
    if "additionalProperties" in schema:
        parts.append(_message(21, _message(1, _schema(schema["additionalProperties"]))))
    if schema.get("type"):
        parts.append(_message(22, _text(1, schema["type"])))
    if "items" in schema:
        parts.append(_message(23, _message(1, _schema(schema["items"]))))
    if schema.get("properties"):
        fields = (_message(1, _named(name, _schema(field))) for name, field in schema["properties"].items())
        parts.append(_message(25, b"".join(fields)))
    return b"".join(parts) + _extensions(31, schema)


def _extensions(number: int, holder: Mapping[str, Any]) -> bytes:
    """Vendor extensions; their values are YAML, of which JSON is a part."""
    found = ((key, msgspec.json.encode(value).decode()) for key, value in holder.items() if key.startswith("x-"))
    return b"".join(_message(number, _named(key, _text(2, value))) for key, value in found)


def _named(name: str, value: bytes) -> bytes:
    return _text(1, name) + _message(2, value)


# --- wire


def _text(number: int, value: str | None) -> bytes:
    return _message(number, value.encode()) if value else b""


def _message(number: int, body: bytes) -> bytes:
    return _varint(number << 3 | _TEXT) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    out.append(value)
    return bytes(out)
