"""YAML as JSON would give it, and as a program:  python -m fairway.toolkit.yaml_json < in > out

The program is for documents so long that reading them would keep an event loop from everything else: the C parser holds
the interpreter for all of its work, and needs a hundred times the document's size of memory meanwhile.
"""

import resource
import subprocess
import sys
from typing import Final

import msgspec
import yaml

from fairway.toolkit import command
from fairway.toolkit.go_yaml import Loader

_DEPTH_MAX: Final = 200
_MEMORY_BYTES_MAX: Final = 2 << 30
_TIMEOUT_SECONDS: Final = 120.0
_REFUSED: Final = 3
"""The program's exit code when the document is at fault; it says why on standard error."""


class NotYaml(ValueError):
    """The document cannot be read; the text says why."""


def to_json(document: bytes) -> bytes:
    """The same value in JSON. Aliases, which could blow a small document up, are refused, as is depth.

    Raises NotYaml.
    """
    try:
        _check(document)
        return msgspec.json.encode(yaml.load(document, Loader=Loader))
    except (yaml.YAMLError, TypeError, ValueError, RecursionError) as error:
        raise NotYaml(str(error)) from error


async def to_json_aside(document: bytes) -> bytes:
    """As `to_json`, by a process of its own. Raises NotYaml, OSError."""
    program = (sys.executable, "-I", "-m", "fairway.toolkit.yaml_json")
    try:
        done = await command.run(program, stdin=document, timeout_seconds=_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise NotYaml(f"the document takes longer than {_TIMEOUT_SECONDS:.0f} s to read") from error
    if done.returncode == _REFUSED:
        raise NotYaml(done.stderr.decode("utf-8", "replace"))
    if done.returncode != 0:
        raise NotYaml("the document takes too much memory")
    return done.stdout


def _check(document: bytes) -> None:
    """The C loader recurses without a limit and would end the process; its parser does not. Raises YAMLError."""
    depth = 0
    for event in yaml.parse(document, Loader=Loader):
        if isinstance(event, yaml.AliasEvent):
            raise yaml.YAMLError("aliases are not allowed")
        if isinstance(event, yaml.CollectionStartEvent):
            depth += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            depth -= 1
        if depth > _DEPTH_MAX:
            raise yaml.YAMLError("exceeded max depth")


def main() -> int:
    """One document; 0, or 3 when it cannot be read."""
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES_MAX, _MEMORY_BYTES_MAX))
    try:
        sys.stdout.buffer.write(to_json(sys.stdin.buffer.read()))
    except NotYaml as error:
        sys.stderr.write(str(error))
        return _REFUSED
    return 0


if __name__ == "__main__":
    sys.exit(main())
