"""Read the run-time type descriptions that a Go program carries: structs, their fields, tags and pointers.

Works on statically linked 64-bit little-endian ELF programs that are not position independent, stripped or not, such
as kubectl.  Layout: `internal/abi/type.go` of Go.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

BOOL, INT32, INT64, UINT8, FLOAT64 = 1, 5, 6, 8, 14
INTERFACE, MAP, POINTER, SLICE, STRING, STRUCT = 20, 21, 22, 23, 24, 25
_UNCOMMON, _EXTRA_STAR, _NAMED = 1, 2, 4
_HEADER, _STRUCT = 48, 80  # bytes of the part that all kinds share, and of a struct's


@dataclass
class GoField:
    """A member of a struct: its Go name, its tags as `key -> text`, its type, and whether it is embedded."""

    name: str
    tags: dict[str, str]
    type: "GoType"
    embedded: bool


@dataclass
class GoType:
    """One Go type; `package` and `name` are empty for types without a name, `elem` is what it points to or holds."""

    kind: int
    package: str
    name: str
    elem: "GoType | None" = None
    key: "GoType | None" = None
    fields: list[GoField] = field(default_factory=list)


class GoProgram:
    """An executable, opened for reading its types."""

    def __init__(self, path: Path) -> None:
        self._image = path.read_bytes()
        self._sections = dict(_sections(self._image))
        self._base = self._sections[".rodata"][0]
        self._types: dict[int, GoType] = {}

    def structs(self) -> dict[str, GoType]:
        """Every struct type that has a name, by `package/path.Name`."""
        _, offset, size = self._sections[".typelink"]
        for (link,) in struct.iter_unpack("<i", self._image[offset : offset + size]):
            self._type(self._base + link)
        named = (found for found in self._types.values() if found.kind == STRUCT and found.name)
        return {f"{found.package}.{found.name}": found for found in named}

    def _type(self, address: int) -> GoType:
        """The type at an address, and all that it refers to; types may refer to themselves."""
        known = self._types.get(address)
        if known is not None:
            return known
        at = self._offset(address)
        flags, kind = self._image[at + 20], self._image[at + 23] & 31
        result = self._types[address] = GoType(kind, self._package(at, kind, flags), self._type_name(at, flags))
        if kind in (POINTER, SLICE):
            result.elem = self._type(self._word(at + _HEADER))
        elif kind == MAP:
            result.key, result.elem = self._type(self._word(at + _HEADER)), self._type(self._word(at + _HEADER + 8))
        elif kind == STRUCT:
            result.fields = list(self._fields(self._word(at + _HEADER + 8), self._word(at + _HEADER + 16)))
        return result

    def _fields(self, address: int, count: int) -> Iterator[GoField]:
        for index in range(count):
            at = self._offset(address + 24 * index)
            name, tag, embedded = self._name(self._offset(self._word(at)))
            yield GoField(name, _tags(tag), self._type(self._word(at + 8)), embedded)

    def _type_name(self, at: int, flags: int) -> str:
        if not flags & _NAMED:
            return ""
        text, _, _ = self._name(self._offset(self._base + self._signed(at + 40)))
        return text.removeprefix("*" if flags & _EXTRA_STAR else "").rpartition(".")[2]

    def _package(self, at: int, kind: int, flags: int) -> str:
        """The import path of a struct; it stands behind the part that all structs share."""
        if kind != STRUCT or not flags & _UNCOMMON or not flags & _NAMED:
            return ""
        link = self._signed(at + _STRUCT)
        return self._name(self._offset(self._base + link))[0] if link else ""

    def _name(self, at: int) -> tuple[str, str, bool]:
        """A name, its tag, and whether it is an embedded field's."""
        flags = self._image[at]
        name, at = self._text(at + 1)
        tag = self._text(at)[0] if flags & 2 else ""
        return name, tag, bool(flags & 8)

    def _text(self, at: int) -> tuple[str, int]:
        """A string with a varint length before it, and where it ends."""
        length = shift = 0
        while True:
            byte = self._image[at]
            at += 1
            length |= (byte & 127) << shift
            if byte < 128:
                return self._image[at : at + length].decode(), at + length
            shift += 7

    def _offset(self, address: int) -> int:
        for start, offset, size in self._sections.values():
            if start <= address < start + size:
                return offset + address - start
        raise ValueError(f"address {address:#x} is not in the program")

    def _word(self, at: int) -> int:
        return int.from_bytes(self._image[at : at + 8], "little")

    def _signed(self, at: int) -> int:
        return int.from_bytes(self._image[at : at + 4], "little", signed=True)


def _sections(image: bytes) -> Iterator[tuple[str, tuple[int, int, int]]]:
    """The ELF sections that are loaded: name, then address, file offset and size."""
    if image[:6] != b"\x7fELF\x02\x01":
        raise ValueError("not a 64-bit little-endian ELF program")
    (table,) = struct.unpack_from("<Q", image, 40)
    width, count, names = struct.unpack_from("<HHH", image, 58)
    headers = [struct.unpack_from("<IIQQQQ", image, table + width * index) for index in range(count)]
    strings = headers[names][4]
    for name, form, _, address, offset, size in headers:
        start = strings + name
        if address and form == 1:
            yield image[start : image.index(b"\0", start)].decode(), (address, offset, size)


def _tags(text: str) -> dict[str, str]:
    """`json:"name,omitempty" protobuf:"…"` taken apart."""
    found: dict[str, str] = {}
    rest = text.strip()
    while '"' in rest:
        key, _, rest = rest.partition(':"')
        value, _, rest = rest.partition('"')
        found[key.strip()] = value
    return found
