"""YAML as people write it: in the order given, without anchors, and text never read as a number or a truth."""

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec
import yaml

from fairway.toolkit import go_yaml


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:
        return True

    def increase_indent(self, flow: bool = False, indentless: bool = False) -> None:
        super().increase_indent(flow, False)


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text and not any(line.endswith(" ") for line in text.splitlines()) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _text)
go_yaml.add_words(_Dumper)


def document(value: Mapping[str, Any]) -> str:
    """One document."""
    made: str = yaml.dump(
        msgspec.to_builtins(value),
        Dumper=_Dumper,
        sort_keys=False,
        default_flow_style=False,
        allow_unicode=True,
        width=120,
    )
    return made


def documents(values: Iterable[Mapping[str, Any]]) -> str:
    """Several, as one file."""
    return "---\n".join(document(value) for value in values)
