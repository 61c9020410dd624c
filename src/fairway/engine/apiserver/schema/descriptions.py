"""What the fields of the built-in kinds mean, in the words of the Kubernetes API's authors: a file read when asked for.

The words are not part of this repository: `python -m fairway.processes.descriptions` (`make setup` runs it) takes them
from a registry package.  Without the file everything works; only `kubectl explain` has less to say.
"""

import gzip
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import msgspec

FILE_NAME: Final = "descriptions.json.gz"
_NONE: Final[Mapping[str, str]] = {}


class Packed(msgspec.Struct, frozen=True):
    """The content of the file; `types` by name of definition, each encoded."""

    source: str
    types: dict[str, msgspec.Raw]


class Descriptions:
    """Texts by definition and field; the text about a whole definition is under an empty name."""

    def __init__(self, packed: Packed) -> None:
        self._packed = packed

    def of(self, definition: str) -> Mapping[str, str]:
        """Empty for a definition nothing is known of."""
        encoded = self._packed.types.get(definition)
        return _NONE if encoded is None else msgspec.json.decode(encoded, type=dict[str, str])


NO_DESCRIPTIONS: Final = Descriptions(Packed("", {}))


def collect(definitions: Mapping[str, Any], wanted: set[str]) -> dict[str, dict[str, str]]:
    """The texts of the `wanted` ones of JSON schema definitions, by definition and field."""
    found: dict[str, dict[str, str]] = {}
    for name in sorted(wanted & definitions.keys()):
        definition = definitions[name]
        texts = {field: value.get("description") for field, value in definition.get("properties", {}).items()}
        found[name] = {key: text for key, text in {"": definition.get("description"), **texts}.items() if text}
    return found


def pack(source: str, types: Mapping[str, Mapping[str, str]]) -> bytes:
    """The content of the file. The same for the same arguments."""
    return gzip.compress(msgspec.json.encode({"source": source, "types": types}), mtime=0)


def unpack(packed: bytes) -> Packed:
    """The file again. Raises ValueError when it is damaged."""
    try:
        return msgspec.json.decode(gzip.decompress(packed), type=Packed)
    except (EOFError, OSError, msgspec.DecodeError) as error:
        raise ValueError(f"not a file of descriptions: {error}") from error


def source_of(packed: bytes) -> str:
    """Which package a file was made from. Raises ValueError when it is damaged."""
    return unpack(packed).source


def file_path() -> Path:
    """Where the file is, or would be: beside this module."""
    return Path(str(files("fairway.engine.apiserver.schema").joinpath(FILE_NAME)))


def load_descriptions() -> Descriptions:
    """What the file says; nothing when there is none or it is damaged. Takes some milliseconds and a megabyte."""
    try:
        return Descriptions(unpack(file_path().read_bytes()))
    except (OSError, ValueError):
        return NO_DESCRIPTIONS
