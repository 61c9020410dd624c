"""What a repository is, told from a few files at its top, and the pipeline that makes an image of it."""

from collections.abc import Mapping

import msgspec

from fairway.delivery.kinds.apps import Build
from fairway.delivery.pipelines import file
from fairway.delivery.pipelines.frameworks import (
    Framework,
    Manager,
    Package,
    framework_of,
    guessed_output,
    manager_of,
    node_version,
    read_package,
)
from fairway.delivery.pipelines.ir import ALL, IMAGE_STEP, Cache, Job, Make, Pipeline, Problem
from fairway.delivery.pipelines.programs import PORT, detect_go, detect_python, procfile_command

PIPELINE_FILES = (".fairway.yml", ".gitee-ci.yml", ".gitlab-ci.yml")
READ = (
    *PIPELINE_FILES,
    *("package.json", ".nvmrc", ".node-version", "next.config.js", "next.config.mjs", "Procfile"),
    *("requirements.txt", "pyproject.toml", "go.mod", "Dockerfile", ".gitattributes"),
)
"""The files whose text is wanted, when they are there."""
SITE_FOLDERS = ("public", "dist", "docs", "site", "www")
_BUILD = "build"
_NODE_SETTINGS = {
    "NODE_ENV": "production",
    "HOST": "0.0.0.0",
    "PATH": "/app/node_modules/.bin:$PATH",
    "PORT": str(PORT),
}


class Tree(msgspec.Struct, frozen=True):
    """What is seen of the app's folder at a commit: the names at its top, and the texts of some files.

    `sites` are those of SITE_FOLDERS that hold an index.html.
    """

    names: frozenset[str]
    files: Mapping[str, str] = {}
    sites: tuple[str, ...] = ()


def detect(tree: Tree, build: Build, variables: Mapping[str, str]) -> Pipeline | Problem:
    """The pipeline of a commit; a Problem says what is missing and what to write."""
    found = _detected(tree, build, variables)
    if isinstance(found, Problem):
        return found
    return msgspec.structs.replace(found, notes=(*found.notes, *_left_aside(tree)))


def _left_aside(tree: Tree) -> tuple[str, ...]:
    """What git keeps elsewhere, so that it is in no commit."""
    notes = []
    if "filter=lfs" in tree.files.get(".gitattributes", ""):
        notes.append("files of Git LFS are not fetched: in their places are the pointers that the commit has")
    if ".gitmodules" in tree.names:
        notes.append("submodules are not fetched: their folders are empty")
    return tuple(notes)


def _detected(tree: Tree, build: Build, variables: Mapping[str, str]) -> Pipeline | Problem:
    match build.strategy:
        case "image":
            return _existing(build)
        case "static":
            return _static(tree, build, variables)
        case "dockerfile":
            return _dockerfile(tree, build)
        case "pipeline":
            return _pipeline_file(tree, build, variables)
    return _automatic(tree, build, variables)


def wanted_files(build: Build) -> tuple[str, ...]:
    """The paths whose text `detect` wants."""
    return tuple(dict.fromkeys((*READ, *filter(None, (build.pipeline_file, build.dockerfile)))))


def _automatic(tree: Tree, build: Build, variables: Mapping[str, str]) -> Pipeline | Problem:
    if build.pipeline_file or any(name in tree.names for name in PIPELINE_FILES):
        return _pipeline_file(tree, build, variables)
    if build.command:
        return _commanded(build, variables)
    if build.dockerfile in tree.names or build.dockerfile in tree.files:
        return _dockerfile(tree, build)
    if "package.json" in tree.names:
        return _javascript(tree, build, variables)
    if {"pyproject.toml", "requirements.txt"} & tree.names:
        return detect_python(tree.names, tree.files, variables, build.image)
    if "go.mod" in tree.names:
        return detect_go(tree.files, variables, build.image)
    return _plain(tree, build) or _nothing(tree)


def _existing(build: Build) -> Pipeline | Problem:
    if not build.image:
        return Problem("strategy image needs the image to deploy", "spec.build.image")
    return _made("image", f"the image {build.image}", Make("existing", base=build.image))


def _dockerfile(tree: Tree, build: Build) -> Pipeline | Problem:
    if build.dockerfile not in tree.names and build.dockerfile not in tree.files:
        return Problem(f"there is no {build.dockerfile} in the repository", "spec.build.dockerfile")
    folder = build.dockerfile.rpartition("/")[0]
    given = {one.name: one.value for one in build.variables if one.value_from is None}
    make = Make("dockerfile", folder, dockerfile=build.dockerfile, arguments=given, target=build.target)
    return _made("Dockerfile", build.dockerfile, make)


def _pipeline_file(tree: Tree, build: Build, variables: Mapping[str, str]) -> Pipeline | Problem:
    listed = (build.pipeline_file,) if build.pipeline_file else PIPELINE_FILES
    name = next((one for one in listed if one in tree.files), None)
    if name is None:
        missing = " nor ".join(listed)
        return Problem(f"there is no {missing} in the repository", "spec.build.pipelineFile")
    found = file.read(tree.files[name].encode(), name, variables, tree.names)
    if isinstance(found, Problem) or any(job.make for job in found.jobs):
        return found
    last = _image_step(Make("site", build.output, optional=not build.output), tuple(job.name for job in found.jobs))
    return msgspec.structs.replace(found, jobs=(*found.jobs, last))


def _static(tree: Tree, build: Build, variables: Mapping[str, str]) -> Pipeline | Problem:
    if build.command:
        return _commanded(build, variables)
    if "package.json" in tree.names and "index.html" not in tree.names:
        return _javascript(tree, build, variables)
    return _plain(tree, build) or _nothing(tree)


def _plain(tree: Tree, build: Build) -> Pipeline | None:
    """Files that are a site as they are: no job is needed."""
    if build.output:
        return _made("static", f"the folder {build.output}", Make("static", build.output))
    if "index.html" in tree.names:
        return _made("static", "index.html", Make("static"))
    if tree.sites:
        return _made("static", f"{tree.sites[0]}/index.html", Make("static", tree.sites[0]))
    return None


def _nothing(tree: Tree) -> Problem:
    if not tree.names:
        return Problem("there is nothing in the repository; commit an index.html, a Dockerfile or a package.json")
    seen = ", ".join(sorted(tree.names)[:8])
    return Problem(
        f"cannot tell what to build: there is {seen}, but no {PIPELINE_FILES[0]}, Dockerfile, package.json, "
        "pyproject.toml, requirements.txt, go.mod or index.html; add one, or set spec.build.command"
    )


def _commanded(build: Build, variables: Mapping[str, str]) -> Pipeline | Problem:
    """What the App itself says: a command in an image, and where its output is."""
    if not build.image:
        return Problem("spec.build.command needs the image to run in", "spec.build.image")
    artifacts = (build.output,) if build.output else (ALL,)
    job = Job(_BUILD, _BUILD, image=build.image, script=(build.command,), variables=variables, artifacts=artifacts)
    why = f"spec.build.command in {build.image}"
    return _pipeline("command", why, job, Make("site", build.output))


def _javascript(tree: Tree, build: Build, variables: Mapping[str, str]) -> Pipeline | Problem:
    package = read_package(tree.files.get("package.json", ""))
    if isinstance(package, Problem):
        return package
    manager, locked = manager_of(package, tree.names)
    framework = framework_of(package, tree.files)
    output = build.output or (framework.output if framework else "")
    start = procfile_command(tree.files) or _start(package, framework)
    builds = framework.script if framework else "build"
    if not output and not start:
        if builds not in package.scripts:
            return _plain(tree, build) or Problem(
                "package.json has neither a `build` nor a `start` script; add one, or set spec.build.output",
                "scripts",
                file="package.json",
            )
        output = guessed_output(tree.names)
    image = build.image or _node_image(manager, node_version(package, tree.files))
    name = framework.name if framework else "a build script" if builds in package.scripts else "a start script"
    commands = (_install(manager, locked), *((f"{manager.run} {builds}",) if builds in package.scripts else ()))
    job = _script_job(image, commands, manager, variables, output)
    shown = [manager.install.partition(" ||")[0] if locked else f"{manager.name} install", *commands[1:]]
    if output:
        why = f"package.json with {name} → {', '.join(shown)}, {output}"
        return _pipeline(name, why, job, Make("site", output))
    why = f"package.json with {name} → {', '.join(shown)}, started with {' '.join(start)}"
    return _pipeline(name, why, job, Make("program", base=image, command=start, port=PORT, arguments=_NODE_SETTINGS))


def _start(package: Package, framework: Framework | None) -> tuple[str, ...]:
    if framework is not None and framework.output:
        return ()
    if "start" in package.scripts:
        return ("npm", "start")
    if framework is not None and framework.name.startswith("nuxt"):
        return ("node", ".output/server/index.mjs")
    if framework is not None and framework.name.startswith("next"):
        return ("npx", "next", "start")
    return ("node", package.main) if package.main and "build" not in package.scripts else ()


def _node_image(manager: Manager, version: str) -> str:
    return "oven/bun:1" if manager.name == "bun" else f"node:{version}-slim"


def _install(manager: Manager, locked: bool) -> str:
    if locked:
        return manager.install
    return f"{'corepack enable && ' if manager.name in ('pnpm', 'yarn') else ''}{manager.name} install"


def _script_job(
    image: str, commands: tuple[str, ...], manager: Manager, variables: Mapping[str, str], output: str
) -> Job:
    setting = {manager.setting: f"{variables.get('CI_PROJECT_DIR', '')}/{manager.cache}"}
    return Job(
        _BUILD,
        _BUILD,
        image=image,
        script=commands,
        variables={**setting, **variables},
        artifacts=(output,) if output else (".",),
        artifacts_exclude=(manager.cache,),
        caches=(Cache(manager.name, (manager.cache,)),),
    )


def _made(framework: str, why: str, make: Make) -> Pipeline:
    return Pipeline(framework, why, (_image_step(make, ()),))


def _pipeline(framework: str, why: str, job: Job, make: Make) -> Pipeline:
    return Pipeline(framework, why, (job, _image_step(make, (job.name,))))


def _image_step(make: Make, after: tuple[str, ...]) -> Job:
    return Job(IMAGE_STEP, IMAGE_STEP, needs=after, inputs=after, make=make)
