"""Programs in Python and Go: how they are installed, and how they are most likely started."""

import re
import shlex
import tomllib
from collections.abc import Mapping

import msgspec

from fairway.delivery.pipelines.ir import IMAGE_STEP, Cache, Job, Make, Pipeline, Problem

PORT = 8080
_PACKAGES = ".packages"
_NOTHING = "gcr.io/distroless/static-debian12:latest"
"""No program in it, but certificates, time zones and users."""
_PYTHON_SETTINGS = {
    "PYTHONPATH": f"/app/{_PACKAGES}",
    "PATH": f"/app/{_PACKAGES}/bin:$PATH",  # a Procfile names commands of packages, such as gunicorn
    "PORT": str(PORT),
}
_REQUIREMENT = re.compile(r"\s*([A-Za-z0-9][A-Za-z0-9._-]*)")
_GO_VERSION = re.compile(r"^go\s+(\d+\.\d+)", re.MULTILINE)


class _Project(msgspec.Struct, frozen=True):
    dependencies: tuple[str, ...] = ()


class _Document(msgspec.Struct, frozen=True):
    project: _Project = _Project()


def procfile_command(files: Mapping[str, str]) -> tuple[str, ...]:
    """The `web:` line of a Procfile."""
    for line in files.get("Procfile", "").splitlines():
        kind, _, command = line.partition(":")
        if kind.strip() == "web" and command.strip():
            return ("sh", "-c", f"exec {command.strip()}")
    return ()


def detect_python(
    names: frozenset[str], files: Mapping[str, str], variables: Mapping[str, str], image: str = ""
) -> Pipeline | Problem:
    """Dependencies into a folder of their own beside the program; the server is guessed from them."""
    wanted = _python_dependencies(files)
    if isinstance(wanted, Problem):
        return wanted
    start = procfile_command(files) or _python_start(names, wanted)
    if not start:
        return Problem(
            "cannot tell how to start this Python program; add a Procfile with a line such as `web: python main.py`"
        )
    source = "requirements.txt" if "requirements.txt" in names else "pyproject.toml"
    image, why = image or "python:3-slim", f"{source} → {{}}started with {shlex.join(start)}"
    make = Make("program", base=image, command=start, port=PORT, arguments=_PYTHON_SETTINGS)
    if not wanted:
        return Pipeline("python", why.format(""), (Job(IMAGE_STEP, IMAGE_STEP, make=make),))
    what = "-r requirements.txt" if source == "requirements.txt" else "."
    install = f"python3 -m pip install --no-compile --target {_PACKAGES} {what}"
    cache = {"PIP_CACHE_DIR": f"{variables.get('CI_PROJECT_DIR', '')}/.pip"}
    job = Job(
        *("build", "build", image),
        script=(install,),
        variables={**cache, **variables},
        artifacts=(".",),
        artifacts_exclude=(".pip",),
        caches=(Cache("pip", (".pip",)),),
    )
    last = Job(IMAGE_STEP, IMAGE_STEP, needs=("build",), inputs=("build",), make=make)
    return Pipeline("python", why.format(f"{install}, "), (job, last))


def detect_go(files: Mapping[str, str], variables: Mapping[str, str], image: str = "") -> Pipeline:
    """One static program on an image with nothing else."""
    version = found[1] if (found := _GO_VERSION.search(files.get("go.mod", ""))) else "1"
    folder = variables.get("CI_PROJECT_DIR", "")
    setting = {"GOMODCACHE": f"{folder}/.go/mod", "GOCACHE": f"{folder}/.go/build", "CGO_ENABLED": "0"}
    command = "go build -trimpath -ldflags='-s -w' -o .bin/app ."
    job = Job(
        *("build", "build", image or f"golang:{version}"),
        script=(command,),
        variables={**setting, **variables},
        artifacts=(".bin/app",),
        caches=(Cache("go", (".go",)),),
    )
    start = procfile_command(files) or ("/app/.bin/app",)
    make = Make("program", folder=".bin", base=_NOTHING, command=start, port=PORT, arguments={"PORT": str(PORT)})
    last = Job(IMAGE_STEP, IMAGE_STEP, needs=("build",), inputs=("build",), make=make)
    return Pipeline(f"go {version}", f"go.mod → {command}, started with {shlex.join(start)}", (job, last))


def _python_dependencies(files: Mapping[str, str]) -> frozenset[str] | Problem:
    """The names of what must be installed, in lower case."""
    lines = [line.partition("#")[0] for line in files.get("requirements.txt", "").splitlines()]
    if "requirements.txt" not in files and "pyproject.toml" in files:
        try:
            lines = list(msgspec.convert(tomllib.loads(files["pyproject.toml"]), _Document).project.dependencies)
        except (tomllib.TOMLDecodeError, msgspec.ValidationError) as error:
            return Problem(str(error), file="pyproject.toml")
    return frozenset(found[1].lower() for line in lines if (found := _REQUIREMENT.match(line)))


def _python_start(names: frozenset[str], wanted: frozenset[str]) -> tuple[str, ...]:
    module = next((name.removesuffix(".py") for name in ("main.py", "app.py", "server.py") if name in names), "")
    if "manage.py" in names:
        return ("python3", "manage.py", "runserver", f"0.0.0.0:{PORT}")
    if module and wanted & {"fastapi", "starlette", "uvicorn"}:
        return ("python3", "-m", "uvicorn", f"{module}:app", "--host", "0.0.0.0", "--port", str(PORT))
    if module and "gunicorn" in wanted:
        return ("python3", "-m", "gunicorn", f"{module}:app", "--bind", f"0.0.0.0:{PORT}")
    if module and "flask" in wanted:
        return ("python3", "-m", "flask", "--app", module, "run", "--host", "0.0.0.0", "--port", str(PORT))
    return ("python3", f"{module}.py") if module else ()
