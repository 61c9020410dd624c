"""The variables that every job has (the CI_* names of GitLab), and how a Git ref is read."""

import re
from collections.abc import Mapping

import msgspec

WORKSPACE = "/workspace"
_UNFIT = re.compile(r"[^a-z0-9]+")


class Commit(msgspec.Struct, frozen=True):
    """What is built: `ref` is a branch or a full ref, `path` the folder of the app in the repository."""

    app: str
    namespace: str
    number: int
    sha: str
    ref: str
    title: str = ""
    path: str = ""
    default_branch: str = "main"
    trigger: str = "push"
    repository: str = ""
    """Where the image goes."""
    url: str = ""
    actor: str = ""

    @property
    def branch(self) -> str:
        """The branch; empty for a tag."""
        return "" if self.ref.startswith("refs/tags/") else self.ref.removeprefix("refs/heads/")

    @property
    def tag(self) -> str:
        return self.ref.removeprefix("refs/tags/") if self.ref.startswith("refs/tags/") else ""


def folder(path: str) -> str:
    """Where the app's folder is in a job's container."""
    return f"{WORKSPACE}/{path.strip('/')}".rstrip("/")


def slug(ref: str) -> str:
    """A ref as a part of host names: [a-z0-9-], at most 63 characters."""
    return _UNFIT.sub("-", ref.lower())[:63].strip("-")


def predefined(commit: Commit) -> dict[str, str]:
    """The variables of the run; those of a job come on top."""
    name = commit.branch or commit.tag
    found = {
        "CI": "true",
        "FAIRWAY": "true",
        "GITLAB_CI": "false",
        "CI_COMMIT_SHA": commit.sha,
        "CI_COMMIT_SHORT_SHA": commit.sha[:8],
        "CI_COMMIT_REF_NAME": name,
        "CI_COMMIT_REF_SLUG": slug(name),
        "CI_COMMIT_TITLE": commit.title,
        "CI_COMMIT_MESSAGE": commit.title,
        "CI_DEFAULT_BRANCH": commit.default_branch,
        "CI_PIPELINE_ID": str(commit.number),
        "CI_PIPELINE_IID": str(commit.number),
        "CI_PIPELINE_SOURCE": {"retry": "web", "manual": "web", "upload": "api"}.get(commit.trigger, "push"),
        "CI_PROJECT_NAME": commit.app,
        "CI_PROJECT_NAMESPACE": commit.namespace,
        "CI_PROJECT_PATH": f"{commit.namespace}/{commit.app}",
        "CI_PROJECT_DIR": folder(commit.path),
        "CI_PROJECT_URL": commit.url,
        "CI_BUILDS_DIR": WORKSPACE,
        "CI_REGISTRY": commit.repository.partition("/")[0],
        "CI_REGISTRY_IMAGE": commit.repository,
        "CI_SERVER": "yes",
        "CI_SERVER_NAME": "Fairway",
        "GITLAB_USER_LOGIN": commit.actor,
    }
    found |= {"CI_COMMIT_TAG": commit.tag} if commit.tag else {"CI_COMMIT_BRANCH": commit.branch}
    return found


def of_job(variables: Mapping[str, str], job: str, stage: str, environment: str) -> dict[str, str]:
    """The variables of one job, on top of those of the run."""
    found = {**variables, "CI_JOB_NAME": job, "CI_JOB_NAME_SLUG": slug(job), "CI_JOB_STAGE": stage}
    found["CI_JOB_ID"] = f"{variables.get('CI_PIPELINE_ID', '0')}-{slug(job)}"
    if environment:
        found |= {"CI_ENVIRONMENT_NAME": environment, "CI_ENVIRONMENT_SLUG": slug(environment)[:24]}
    return found
