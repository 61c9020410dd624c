"""Pipeline files: what they mean, and what is said about mistakes."""

from pathlib import Path

import pytest

from fairway.delivery.pipelines.conditions import BadCondition, holds, matches
from fairway.delivery.pipelines.file import read
from fairway.delivery.pipelines.ir import ALL, Job, Pipeline, Problem, RegistryLogin
from fairway.delivery.pipelines.variables import Commit, predefined

SHA = "a1b2c3d4" + "0" * 32
COMMIT = Commit("site", "team", 7, SHA, "main", "a change", repository="registry.fairway.local/team/site")
VARIABLES = predefined(COMMIT)


def parsed(text: str, **variables: str) -> tuple[Job, ...]:
    found = read(text.encode(), ".fairway.yml", {**VARIABLES, **variables}, frozenset({"Dockerfile", "package.json"}))
    assert isinstance(found, Pipeline), str(found)
    return found.jobs


def named(text: str, **variables: str) -> list[str]:
    return [job.name for job in parsed(text, **variables)]


def problem(text: str | bytes) -> str:
    data = text if isinstance(text, bytes) else text.encode()
    found = read(data, ".fairway.yml", VARIABLES, frozenset())
    assert isinstance(found, Problem), found
    return str(found)


def test_the_documents_file_is_read_as_it_is_written() -> None:
    data = (Path(__file__).parent / "pipelines" / "documents.gitee-ci.yml").read_bytes()
    found = read(data, ".gitee-ci.yml", VARIABLES, frozenset())
    assert isinstance(found, Pipeline)
    build, package, deploy = found.jobs
    assert (build.stage, build.image, build.script) == ("build", "node:18-alpine", ("npm install", "npm run build"))
    assert build.artifacts == (ALL,) and package.inputs == ("build",)
    assert package.make is not None and package.make.kind == "dockerfile"
    assert package.make.tags == (f"harbor.corp.com/frontend/marketing-site:{SHA}",)
    assert (
        deploy.inputs == ("build",)
        and deploy.cluster
        and deploy.needs == ("build", "package")
        and len(deploy.script) == 2
    )
    assert deploy.variables["CI_COMMIT_SHA"] == SHA


def test_predefined_variables_follow_the_ref() -> None:
    assert VARIABLES["CI_COMMIT_BRANCH"] == "main" and VARIABLES["CI_COMMIT_SHORT_SHA"] == "a1b2c3d4"
    tagged = predefined(Commit("site", "team", 1, SHA, "refs/tags/V1.0"))
    assert tagged["CI_COMMIT_TAG"] == "V1.0" and "CI_COMMIT_BRANCH" not in tagged
    assert tagged["CI_COMMIT_REF_SLUG"] == "v1-0"
    long = predefined(Commit("site", "team", 1, SHA, "Feature/" + "x" * 90))["CI_COMMIT_REF_SLUG"]
    assert long.startswith("feature-xxx") and len(long) == 63


@pytest.mark.parametrize(
    ("text", "met"),
    [
        ('$CI_COMMIT_BRANCH == "main"', True),
        ("$CI_COMMIT_BRANCH == 'x' || $CI == 'true'", True),
        ("$CI_COMMIT_BRANCH != $CI_DEFAULT_BRANCH", False),
        ("$CI_COMMIT_TAG", False),
        ("$CI_COMMIT_TAG == null", True),
        ("${CI_COMMIT_BRANCH} =~ /^ma.n$/", True),
        ("$CI_COMMIT_BRANCH =~ /^MAIN$/", False),
        ("$CI_COMMIT_BRANCH =~ /^MAIN$/i", True),
        ("$CI_COMMIT_BRANCH !~ /^release/ && $CI", True),
        ("($CI_COMMIT_TAG || $CI) && $CI_COMMIT_TAG", False),
        ("$CI_PROJECT_PATH =~ /team\\/site/", True),
    ],
)
def test_conditions(text: str, met: bool) -> None:
    assert holds(text, VARIABLES) is met


@pytest.mark.parametrize(
    "text", ["", "$A ==", "$A = 1", "($A", "$A $B", "$A =~ 'x'", "$A =~ /(/", "(" * 5000, "$A =~ /x/q"]
)
def test_conditions_that_cannot_be_read(text: str) -> None:
    with pytest.raises(BadCondition):
        holds(text, VARIABLES)


def test_regular_expressions_take_linear_time() -> None:
    assert not matches("^(a+)+$", "a" * 50_000 + "b")


def test_rules_decide_which_jobs_run() -> None:
    text = """
stages: [build]
first: {stage: build, script: [a], rules: [{if: '$CI_COMMIT_BRANCH == "main"', variables: {X: "1"}}]}
second: {stage: build, script: [a], rules: [{if: $CI_COMMIT_TAG}]}
third: {stage: build, script: [a], only: [main, tags]}
fourth: {stage: build, script: [a], except: [branches]}
fifth: {stage: build, script: [a], only: [/^ma/]}
sixth: {stage: build, script: [a], rules: [{exists: [Dockerfile], when: manual}]}
seventh: {stage: build, script: [a], only: {refs: [main], variables: [$CI_COMMIT_TAG]}}
"""
    jobs = parsed(text)
    assert [job.name for job in jobs] == ["first", "third", "fifth", "sixth"]
    assert jobs[0].variables["X"] == "1"
    assert (jobs[3].when, jobs[3].allow_failure) == ("manual", True)


def test_templates_defaults_anchors_and_references() -> None:
    text = """
default: {image: "node:20", before_script: [npm ci]}
stages: [build, test]
.base: &base
  variables: {A: base, B: base}
  retry: 2
.setup: {script: [setup one, setup two]}
build:
  stage: build
  extends: .base
  variables: {B: own}
  script: [build]
test:
  <<: *base
  stage: test
  before_script: []
  script:
    - !reference [.setup, script]
    - test
"""
    build, test = parsed(text)
    assert build.script == ("npm ci", "build") and build.image == "node:20" and build.retries == 2
    assert (build.variables["A"], build.variables["B"]) == ("base", "own")
    assert test.script == ("setup one", "setup two", "test") and test.retries == 2


def test_a_variable_of_the_app_wins() -> None:
    text = "variables: {A: file}\nstages: [b]\nb: {variables: {A: job, N: 1.10, T: yes}, script: [x], image: 'x:$A'}"
    (job,) = parsed(text, A="app")
    assert job.variables["A"] == "app" and job.image == "x:app"
    assert (job.variables["N"], job.variables["T"]) == ("1.10", "true")


def test_needs_make_a_graph() -> None:
    text = """
stages: [one, two]
a: {stage: one, script: [x], artifacts: {paths: [dist]}}
b: {stage: one, script: [x]}
c: {stage: two, script: [x], needs: [a]}
d: {stage: two, script: [x], needs: [{job: a, artifacts: false}, {job: nobody, optional: true}]}
e: {stage: two, script: [x], dependencies: [a]}
f: {stage: two, script: [x], needs: []}
"""
    found = {job.name: job for job in parsed(text)}
    assert (found["c"].needs, found["c"].inputs) == (("a",), ("a",))
    assert (found["d"].needs, found["d"].inputs) == (("a",), ())
    assert (found["e"].needs, found["e"].inputs) == (("a", "b"), ("a",))
    assert found["f"].needs == () and found["a"].artifacts == ("dist",) and found["b"].artifacts == ()


def test_services_caches_times_and_environments() -> None:
    text = """
stages: [test]
test:
  script: [pytest]
  services: [postgres:16, {name: "team/redis:7", alias: cache}]
  cache: {key: "$CI_COMMIT_REF_SLUG", paths: [.pip], policy: pull}
  timeout: 1h 30m
  environment: {name: review/$CI_COMMIT_REF_NAME}
  allow_failure: {exit_codes: [3, 4]}
"""
    (job,) = parsed(text)
    assert [service.aliases for service in job.services] == [("postgres",), ("cache", "team-redis")]
    assert (job.caches[0].key, job.caches[0].paths, job.caches[0].policy) == ("main", (".pip",), "pull")
    assert (job.timeout_seconds, job.environment, job.allowed_exit_codes) == (5400, "review/main", (3, 4))
    assert job.variables["CI_ENVIRONMENT_SLUG"] == "review-main"


def test_docker_commands_become_a_step_of_the_platform() -> None:
    text = """
stages: [package]
package:
  image: docker:27
  services: [docker:27-dind]
  script:
    - echo $PASSWORD | docker login -u $CI_REGISTRY_USER --password-stdin $CI_REGISTRY
    - docker build --pull -f deploy/Dockerfile --build-arg V=$CI_COMMIT_SHORT_SHA -t $CI_REGISTRY_IMAGE:1 web
    - docker push $CI_REGISTRY_IMAGE:1
"""
    (job,) = parsed(text)
    assert job.make is not None and not job.services
    assert (job.make.folder, job.make.dockerfile) == ("web", "deploy/Dockerfile")
    assert job.make.arguments == {"V": "a1b2c3d4"} and job.make.tags == ("registry.fairway.local/team/site:1",)


@pytest.mark.parametrize(
    ("command", "login"),
    [
        ('echo "$PW" | docker login h.io -u robot --password-stdin', RegistryLogin("h.io", "robot", "PW")),
        ("echo $PW | docker login -u 'robot$ci' --password-stdin h.io", RegistryLogin("h.io", "robot$ci", "PW")),
        ('docker login -u "robot\\$ci" -p "${PW}" https://h.io', RegistryLogin("h.io", "robot$ci", "PW")),
        ("docker login --username=$ROBOT --password=$PW h.io", RegistryLogin("h.io", "robot$ci", "PW")),
        ("docker login -u $HIDDEN -p $PW h.io", RegistryLogin("h.io", "$HIDDEN", "PW", "HIDDEN")),
        ("docker login -u me -p hunter2 h.io", None),
        ("cat password | docker login -u me --password-stdin h.io", None),
    ],
)
def test_logins_of_the_file_name_the_variable_that_holds_the_password(
    command: str, login: RegistryLogin | None
) -> None:
    text = f"stages: [p]\nvariables: {{ROBOT: 'robot$ci'}}\np:\n  image: docker\n  script:\n  - >-\n    {command}\n"
    (job,) = parsed(f"{text}  - docker build -t h.io/a:1 .\n  - docker push h.io/a:1\n")
    assert job.make is not None and job.make.logins == ((login,) if login is not None else ())
    assert "hunter2" not in repr(job.make)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: [", ".fairway.yml:2: this is not YAML"),
        ("- a", ":1: the file must be a mapping"),
        (b"\xff\xfe", "is not UTF-8"),
        ("x: " + "y" * 300_000, "at most 262144 are read"),
        ("[" * 90_000, "nested deeper than 50 levels"),
        ("a: &a\n  b: *a", "nested deeper than 50 levels"),
        ("stages: [b]\n\nb:\n  stage: c\n  script: [x]", ":4: b.stage: there is no stage 'c'; the stages are b"),
        ("stages: [b]\nx:\n  script: [y]", ":2: x: the job has no stage, and its name is none of the stages b"),
        ("stages: [b]\nb: {image: x}", ":2: b: the job has no script"),
        ("stages: [b]\nb:\n  script:\n    - {a: b}", ":4: b.script.0: must be text, not a mapping"),
        ("stages: [b]\nb: yes", ":2: b: a job must be a mapping with a script"),
        ("stages: [b]\nb:\n  script: [x]\n  needs: [z]", ":4: b.needs.0: there is no job 'z' in this run"),
        (
            "stages: [s]\na: {stage: s, script: [x], needs: [b]}\nb: {stage: s, script: [x], needs: [a]}",
            "a, b wait for",
        ),
        ("stages: [b]\nb: {extends: .x, script: [x]}", "b.extends: there is no job or template '.x'"),
        (".a: {extends: .b}\n.b: {extends: .a}\nbuild: {extends: .a, script: [x]}", "goes in a circle"),
        ("stages: [b]\nb: {script: [x], retry: 9}", "b.retry: must be a number from 0 to 2, not '9'"),
        ("stages: [b]\nb: {script: [x], timeout: soon}", "b.timeout: 'soon' is not a time such as 30m"),
        ("stages: [b]\nb: {script: [x], when: later}", "b.when: 'later' is none of on_success"),
        ("stages: [b]\nb: {script: [x], artifacts: {paths: [../x]}}", "artifacts.paths: '../x' is outside"),
        ("stages: [b]\nb: {script: [x], cache: {paths: [/etc]}}", "paths: '/etc' is outside the project's folder"),
        ("stages: [b]\nb: {script: [x], rules: [{if: $A ==}]}", "b.rules.0.if: a value such as"),
        ("stages: [b]\nb: {script: [x], rules: [{if: $NO}]}", "no job runs for main"),
        ("stages: [b]\nb: {script: [x], parallel: 3}", "b.parallel: is not supported"),
        ("include: x.yml\nb: {script: [x]}", ":1: include: is not supported: other files are not included"),
        (
            "stages: [b]\nb: {image: docker, script: [docker build ., docker run x]}",
            "`docker run x` needs a Docker daemon",
        ),
        (
            "stages: [b]\nb:\n  image: docker:27\n  before_script: [docker login]\n  script:\n"
            "  - docker build -t a .\n  - npm test\n",
            ":7: b.script.1: `npm test` is no docker command",
        ),
        (
            "stages: [b]\nb:\n  image: docker:27\n  script:\n  - ls\n  - docker compose up\n",
            ":6: b.script.1: `docker compose up` needs a Docker daemon, and no job gets one",
        ),
        (
            "stages: [b]\nb:\n  image: node\n  services: ['docker:27-dind']\n  script: [docker run x]\n",
            "b.script.0: `docker run x` needs a Docker daemon",
        ),
        ("stages: [b]\nb: {image: docker, script: [docker build /etc]}", "must be one inside the repository"),
        ("stages: [b, b]\nb: {script: [x]}", "stages: a stage is named twice"),
        (
            "stages: [b]\n" + "".join(f"j{n}: {{stage: b, script: [x]}}\n" for n in range(60)),
            "60 jobs; at most 48 can run",
        ),
        ("stages: [b]\nb: {script: ['" + "x" * 100_000 + "']}", "b.script: the script has more than 98304 bytes"),
    ],
)
def test_a_mistake_names_line_and_field(text: str | bytes, said: str) -> None:
    assert said in problem(text)


def test_an_alias_bomb_does_not_go_off() -> None:
    lines = ["a0: &a0 {x: 1}"] + [f"a{n}: &a{n} {{<<: [*a{n - 1}, *a{n - 1}]}}" for n in range(1, 60)]
    assert "anchors and aliases make more than 20000 values" in problem("\n".join(lines))
    lists = ["a0: &a0 [x, x, x, x, x, x, x, x]"] + [
        f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 8)}]" for n in range(1, 12)
    ]
    assert "anchors and aliases make more than 20000 values" in problem("\n".join(lists))
