"""The App's way of building as a pipeline file, for repositories that want it in them."""

import json

from fairway.delivery.forges.errors import ForgeError
from fairway.delivery.forges.forge import Forge
from fairway.delivery.kinds.apps import App, Build

NAME = ".fairway.yml"
_MESSAGE = "Add the pipeline of the Fairway app {name} [skip ci]"


async def write(app: App, forge: Forge) -> None:
    """Create the file if it is not there; what is there is never changed. Raises ForgeError."""
    text = render(app.spec.build)
    if not text:
        what = "there is only a pipeline to write when spec.build says image and command"
        raise ForgeError(f"spec.source.writePipelineFile: {what}")
    folder = app.spec.source.path.strip("/")
    path = f"{folder}/{NAME}" if folder else NAME
    await forge.write_file(path, text, app.spec.source.branch, _MESSAGE.format(name=app.metadata.name))


def render(build: Build) -> str:
    """The file; empty when the App leaves its build to be detected, for then a file would only freeze a guess."""
    if not (build.image and build.command):
        return ""
    lines = [
        "# Written once from the App's settings; from now on this file says how it is built.",
        "build:",
        f"  image: {json.dumps(build.image)}",
        "  script:",
        f"    - {json.dumps(build.command)}",
    ]
    if build.output:
        lines += ["  artifacts:", "    paths:", f"      - {json.dumps(build.output)}"]
    return "\n".join(lines) + "\n"
