"""Manifests in, translation and configuration out: NAME.in.yaml → NAME.out.yaml and NAME.out.cfg."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml

from fairway.edge.place import EMPTY, place
from fairway.edge.render import Options, Rendered, Section, files, render
from fairway.edge.snapshot import of_manifests
from fairway.edge.translate import Translation, translate

GOLDEN = Path(__file__).parents[1] / "golden" / "edge"
OPTIONS = Options(http="fd@3", https="fd@4", run_as=(65534, 65534))


def compare(name: str, text: str, update: bool) -> None:
    path = GOLDEN / name
    if update:
        path.write_text(text)
    assert text == path.read_text()


def translated(translation: Translation) -> str:
    edge = translation.edge
    found = {
        "problems": translation.problems,
        "routes": tuple(edge.routes),
        "backends": edge.backends,
        "certificates": {certificate.name: certificate.hosts for certificate in edge.certificates},
    }
    plain = _keys_as_text(msgspec.to_builtins(found))
    return yaml.safe_dump(plain, sort_keys=False, allow_unicode=True, width=120)


def _keys_as_text(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            name: "/".join(item) if name in ("owner", "ingress") else _keys_as_text(item)
            for name, item in value.items()
        }
    return [_keys_as_text(item) for item in value] if isinstance(value, list | tuple) else value


def configured(rendered: Rendered) -> str:
    """What differs from an edge without anything: the backends that are used, and the maps."""
    names = set(rendered.placement.names.values())
    used = [section for section in rendered.sections if section.backend in names or _extra(section)]
    canary = [line for line in rendered.sections[2].lines if "canary" in line or "pick" in line]
    texts = files(msgspec.structs.replace(rendered, sections=tuple(used)))
    maps = "".join(f"## {name}\n{text}" for name, text in sorted(texts.items()) if name.endswith((".map", ".txt")))
    rules = "\n".join(canary) if rendered.maps["maps/canary.map"] else ""
    return f"{texts['haproxy.cfg']}{maps}{rules}\n"


def _extra(section: Section) -> bool:
    """A section that is only there when something asks for it."""
    kind, _, rest = section.title.partition(" ")
    name = rest.partition(" ")[0]
    return kind in ("userlist", "cache", "fcgi-app") or (kind in ("frontend", "backend") and name[0] in "litn")


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.in.yaml")), ids=lambda path: path.name.partition(".")[0])
def test_golden(path: Path, request: pytest.FixtureRequest, make: Any) -> None:
    update = request.config.getoption("--update-golden")
    translation = translate(of_manifests([*make.classes(), *yaml.safe_load_all(path.read_text())]))
    rendered = render(translation.edge, place(translation.edge, EMPTY), OPTIONS)
    name = path.name.removesuffix(".in.yaml")
    compare(f"{name}.out.yaml", translated(translation), update)
    compare(f"{name}.out.cfg", configured(rendered), update)


def test_golden_frame(request: pytest.FixtureRequest) -> None:
    """The configuration of an edge without anything, up to the second spare backend."""
    empty = translate(of_manifests([])).edge
    rendered = render(empty, place(empty, EMPTY), OPTIONS)
    text = files(rendered)["haproxy.cfg"].partition("backend p1 ")[0]
    compare("frame.out.cfg", text, request.config.getoption("--update-golden"))
