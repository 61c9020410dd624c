"""What a repository is taken for, and why."""

import json

import pytest

from fairway.delivery.kinds.apps import Build
from fairway.delivery.pipelines.detect import Tree, detect
from fairway.delivery.pipelines.ir import Pipeline, Problem

NOTHING: dict[str, str] = {}
GITEE = "stages: [build]\nbuild: {script: [x]}"


def tree(*names: str, sites: tuple[str, ...] = (), **files: str) -> Tree:
    texts = {name.replace("__", "."): text for name, text in files.items()}
    return Tree(frozenset((*names, *texts)), texts, sites)


def package(*dependencies: str, scripts: tuple[str, ...] = ("build",), **more: object) -> str:
    wanted = dict(one.split(" ") if " " in one else (one, "*") for one in dependencies)
    return json.dumps({"scripts": dict.fromkeys(scripts, "x"), "devDependencies": wanted, **more})


def found(seen: Tree, build: Build | None = None) -> Pipeline:
    result = detect(seen, build or Build(), {"CI_PROJECT_DIR": "/workspace", "CI_COMMIT_REF_NAME": "main"})
    assert isinstance(result, Pipeline), str(result)
    return result


@pytest.mark.parametrize(
    ("seen", "why"),
    [
        (tree("index.html"), "index.html"),
        (tree("public", sites=("public",)), "public/index.html"),
        (tree("Dockerfile", "index.html"), "Dockerfile"),
        (
            tree("package-lock.json", package__json=package("vite ^5.1.0")),
            ("package.json with vite 5 → npm ci, npm run build, dist"),
        ),
        (tree(package__json=package("vite")), "package.json with vite → npm install, npm run build, dist"),
        (
            tree("pnpm-lock.yaml", package__json=package("astro ~4")),
            ("package.json with astro 4 → corepack enable && pnpm install --frozen-lockfile, pnpm run build, dist"),
        ),
        (
            tree("yarn.lock", package__json=package("react-scripts")),
            ("package.json with create-react-app → corepack enable && yarn install, yarn run build, build"),
        ),
        (
            tree(package__json=package("vite", "vitepress", scripts=("docs:build",))),
            ("package.json with vitepress → npm install, npm run docs:build, docs/.vitepress/dist"),
        ),
        (
            tree(package__json=package("next", scripts=("build", "start"))),
            ("package.json with next → npm install, npm run build, started with npm start"),
        ),
        (
            tree(package__json=package("next"), next__config__js="module.exports = {\n  output: 'export',\n}"),
            ("package.json with next → npm install, npm run build, out"),
        ),
        (
            tree(package__json=package("express", scripts=("start",))),
            ("package.json with a start script → npm install, started with npm start"),
        ),
        (
            tree(package__json=package(scripts=("build",))),
            ("package.json with a build script → npm install, npm run build, dist"),
        ),
        (
            tree("main.py", requirements__txt="fastapi==1\nuvicorn"),
            (
                "requirements.txt → "
                "python3 -m pip install --no-compile --target .packages -r requirements.txt, "
                "started with python3 -m uvicorn main:app --host 0.0.0.0 --port 8080"
            ),
        ),
        (tree("app.py", requirements__txt="# nothing\n"), "requirements.txt → started with python3 app.py"),
        (
            tree("app.py", pyproject__toml='[project]\nname = "x"\ndependencies = ["flask>=3"]'),
            (
                "pyproject.toml → "
                "python3 -m pip install --no-compile --target .packages ., "
                "started with python3 -m flask --app app run --host 0.0.0.0 --port 8080"
            ),
        ),
        (
            tree("x.py", requirements__txt="", Procfile="web: python x.py"),
            ("requirements.txt → started with sh -c 'exec python x.py'"),
        ),
        (
            tree(go__mod="module x\n\ngo 1.22\n"),
            ("go.mod → go build -trimpath -ldflags='-s -w' -o .bin/app ., started with /app/.bin/app"),
        ),
        (Tree(frozenset({".gitee-ci.yml", "Dockerfile"}), {".gitee-ci.yml": GITEE}), ".gitee-ci.yml → build"),
    ],
)
def test_what_is_detected_and_why(seen: Tree, why: str) -> None:
    assert found(seen).why == why


def test_a_framework_becomes_a_job_and_the_image_step() -> None:
    job, image = found(tree("package-lock.json", ".nvmrc", package__json=package("vite ^5"), __nvmrc="v18.2\n")).jobs
    assert (job.image, job.artifacts, image.inputs) == ("node:18-slim", ("dist",), ("build",))
    assert job.caches[0].paths == (".npm",) and job.variables["npm_config_cache"] == "/workspace/.npm"
    assert image.make is not None and (image.make.kind, image.make.folder) == ("site", "dist")


def test_the_version_of_node_is_taken_from_the_repository() -> None:
    with_engines = package("vite", engines={"node": ">=18 <21"})
    assert found(tree(package__json=with_engines)).jobs[0].image == "node:18-slim"
    assert found(tree(package__json=package("vite"))).jobs[0].image == "node:lts-slim"


def test_what_the_app_says_comes_first() -> None:
    build = Build(command="make site", image="debian:12", output="out")
    job, image = found(tree("Dockerfile", "index.html"), build).jobs
    assert (job.script, job.image, job.artifacts) == (("make site",), "debian:12", ("out",))
    assert image.make is not None and image.make.folder == "out"
    go = tree(go__mod="module x\n\ngo 1.22\n")
    assert found(go).jobs[0].image == "golang:1.22" and found(go, Build(image="corp/go")).jobs[0].image == "corp/go"
    python = found(tree("main.py", requirements__txt="flask"), Build(image="python:3.12"))
    assert python.jobs[0].image == "python:3.12" and python.jobs[1].make and python.jobs[1].make.base == "python:3.12"
    (only,) = found(tree("package.json"), Build(strategy="image", image="nginx:1")).jobs
    assert only.make is not None and (only.make.kind, only.make.base) == ("existing", "nginx:1")


def test_what_git_keeps_elsewhere_is_told() -> None:
    seen = tree("index.html", ".gitmodules", ".gitattributes")
    lfs = Tree(seen.names, {**seen.files, ".gitattributes": "*.png filter=lfs diff=lfs merge=lfs -text\n"})
    assert [note.partition(":")[0] for note in found(lfs).notes] == [
        "files of Git LFS are not fetched",
        "submodules are not fetched",
    ]
    assert found(tree("index.html")).notes == ()


def test_a_pipeline_file_without_an_image_of_its_own_gets_the_image_step() -> None:
    seen = Tree(frozenset({".fairway.yml"}), {".fairway.yml": "stages: [build]\nbuild: {script: [x]}"})
    build, image = found(seen).jobs
    assert image.needs == (build.name,) and image.make is not None and image.make.optional


@pytest.mark.parametrize(
    ("seen", "build", "said"),
    [
        (tree("README.md"), Build(), "cannot tell what to build: there is README.md, but no .fairway.yml"),
        (tree(), Build(), "there is nothing"),
        (tree("x"), Build(strategy="image"), "spec.build.image: strategy image needs the image"),
        (tree("x"), Build(strategy="dockerfile"), "spec.build.dockerfile: there is no Dockerfile"),
        (tree("x"), Build(strategy="pipeline"), "there is no .fairway.yml nor .gitee-ci.yml nor .gitlab-ci.yml"),
        (tree("x"), Build(pipeline_file="ci.yml"), "spec.build.pipelineFile: there is no ci.yml"),
        (tree("x"), Build(command="make"), "spec.build.image: spec.build.command needs the image"),
        (tree(package__json="{"), Build(), "package.json: Input data was truncated"),
        (
            tree(package__json='{"scripts": []}'),
            Build(),
            "package.json: Expected `object`, got `array` - at `$.scripts`",
        ),
        (tree(package__json="{}"), Build(), "package.json: scripts: package.json has neither a `build` nor a `start`"),
        (tree("x.py", requirements__txt="flask"), Build(), "add a Procfile"),
        (tree("main.py", pyproject__toml="[project"), Build(), "pyproject.toml: "),
    ],
)
def test_a_problem_says_what_to_write(seen: Tree, build: Build, said: str) -> None:
    result = detect(seen, build, NOTHING)
    assert isinstance(result, Problem) and said in str(result)
