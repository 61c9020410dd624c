"""Dockerfiles that run commands: cut at RUN, as jobs, and what the commands changed as a layer."""

import io
import tarfile
from pathlib import Path

import pytest

from fairway.delivery.builds.segments import segments
from fairway.delivery.pipelines.containerfile import with_runs
from fairway.delivery.pipelines.ir import Job, Make, Pipeline, Problem
from fairway.toolkit.oci import dockerfile
from fairway.toolkit.oci.changes import changed_layer
from fairway.toolkit.oci.dockerfile import DockerfileError
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import Image, ImageStore
from fairway.toolkit.oci.streams import BadArchive

TEXT = 'FROM python:3\nARG A=1\nWORKDIR app\nCOPY . .\nRUN one\nRUN ["two", "a b"]\nENV X=1\nRUN three\nCMD four\n'


def test_a_dockerfile_is_cut_at_its_commands() -> None:
    first, second, last = segments(dockerfile.parse(TEXT))
    assert [str(one) for one in first.instructions] == ["FROM python:3", "ARG A=1", "WORKDIR app", "COPY . ."]
    assert first.commands == ("one", "two 'a b'") and first.working_dir == "/app" and first.arguments == (("A", "1"),)
    assert [str(one) for one in second.instructions] == ["FROM scratch", "ARG A=1", "ENV X=1"]
    assert second.commands == ("three",)
    assert [str(one) for one in last.instructions] == ["FROM scratch", "ARG A=1", "CMD four"] and not last.commands


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RUN x", "line 1: RUN before FROM"),
        ("FROM a\nFROM b\nRUN x", "line 3: RUN in a Dockerfile with several stages"),
        ("FROM a\nUSER 1000\nRUN x", "line 3: RUN as user 1000"),
        ("FROM a\nRUN --mount=type=secret,id=x cat", "line 2: RUN --mount is not supported"),
        ("FROM a\n" + "RUN x\nENV A=1\n" * 12, "at most 11 groups"),
    ],
)
def test_what_cannot_be_run_is_refused_by_line(text: str, said: str) -> None:
    with pytest.raises(DockerfileError, match=said):
        segments(dockerfile.parse(text))


def test_the_jobs_of_a_dockerfile() -> None:
    make = Make("dockerfile", arguments={"A": "2"}, tags=("registry.example.com/team/shop:1",))
    pipeline = Pipeline("f", "w", (Job("test", "test"), Job("package", "package", needs=("test",), make=make)))
    found = with_runs(pipeline, {"Dockerfile": TEXT}, "registry/team/shop", "shop-7")
    assert isinstance(found, Pipeline)
    assert [(job.name, job.needs) for job in found.jobs[1:]] == [
        ("package-copy-1", ("test",)),
        ("package-run-1", ("package-copy-1",)),
        ("package-copy-2", ("package-run-1",)),
        ("package-run-2", ("package-copy-2",)),
        ("package", ("package-run-2",)),
    ]
    run, last = found.jobs[2], found.jobs[-1]
    assert run.image == "registry/team/shop:shop-7-package-1" and run.variables["A"] == "2" and run.bare
    assert last.make is not None and last.make.before == "registry/team/shop:shop-7-package-2"
    assert last.make.tags == make.tags and last.inputs == ("package-run-2",)
    problem = with_runs(pipeline, {"Dockerfile": "FROM a\nUSER b\nRUN c"}, "r", "s")
    assert isinstance(problem, Problem) and problem.line == 3 and problem.file == "Dockerfile"


@pytest.fixture
def before(tmp_path: Path) -> tuple[ImageStore, Image]:
    store = ImageStore(tmp_path / "images")
    draft = Draft(store, None)
    draft.add([Entry("etc", mode=0o750), Entry("etc/old", data=b"old", mode=0o600)], "1")
    draft.add([Entry("etc/gone/a", data=b"a", mode=0o644), Entry("same", data=b"same", mode=0o644)], "2")
    return store, draft.commit(parse("base:latest"))


def packed(path: Path, *members: tuple[str, int, str, str]) -> Path:
    """An archive of (name, mode, what, content); what is a type of tar's."""
    with tarfile.open(path, "w") as tar:
        for name, mode, what, content in members:
            info = tarfile.TarInfo(name)
            info.mode, info.type, info.mtime = mode, what.encode(), 12345
            if what == "0":
                info.size = len(content)
            else:
                info.linkname = content
            tar.addfile(info, io.BytesIO(content.encode()) if what == "0" else None)
    return path


SAME = (("etc", 0o750, "5", ""), ("etc/old", 0o600, "0", "old"), ("same", 0o644, "0", "same"))
KEPT = (("etc/gone", 0o755, "5", ""), ("etc/gone/a", 0o644, "0", "a"))


def test_nothing_changed_is_no_layer(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    outside = (("proc/1", 0o644, "0", "x"), ("etc/hosts", 0o644, "0", "x"))
    assert changed_layer(*before, packed(tmp_path / "t", *SAME, *KEPT, *outside)) is None


def test_what_changed_is_a_layer_with_whiteouts(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    store, base = before
    more = (
        ("./etc/new", 0o4755, "0", "new"),
        ("link", 0o777, "2", "/etc/passwd"),
        ("hard", 0o644, "1", "same"),
        ("pipe", 0o644, "6", ""),
        ("etc/.wh.old", 0o644, "0", ""),
    )
    layer = changed_layer(store, base, packed(tmp_path / "t", *SAME, *more))
    assert layer is not None
    with store.blobs.open(layer.descriptor.digest) as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
        found = {one.name: (one.type, oct(one.mode), one.linkname, one.size) for one in tar}
    assert found == {
        "etc": (b"5", "0o750", "", 0),
        "etc/.wh.gone": (b"0", "0o644", "", 0),
        "etc/new": (b"0", "0o4755", "", 3),
        "hard": (b"0", "0o644", "", 4),
        "link": (b"2", "0o777", "/etc/passwd", 0),
    }


@pytest.mark.parametrize(
    "member", [("../evil", 0o644, "0", "x"), ("a/../../evil", 0o644, "0", "x"), ("hard", 0o644, "1", "nowhere")]
)
def test_a_hostile_archive_is_refused(
    tmp_path: Path, before: tuple[ImageStore, Image], member: tuple[str, int, str, str]
) -> None:
    with pytest.raises(BadArchive):
        changed_layer(*before, packed(tmp_path / "t", member))
    assert not (tmp_path / "evil").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    (tmp_path / "t").write_bytes(b"x" * 5000)
    with pytest.raises(BadArchive):
        changed_layer(*before, tmp_path / "t")
