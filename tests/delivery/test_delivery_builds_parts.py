"""Dockerfiles that run commands: cut at RUN, as jobs, and what the commands changed as a layer."""

import io
import tarfile
from pathlib import Path

import pytest

from fairway.delivery.builds.layer_cache import Kept, LayerCache, apps, forget
from fairway.delivery.builds.parts import Part, parts
from fairway.delivery.kinds.apps import Build, Variable
from fairway.delivery.pipelines import render
from fairway.delivery.pipelines.containerfile import with_runs
from fairway.delivery.pipelines.ir import Job, Make, Pipeline, Problem
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.oci import dockerfile, stages
from fairway.toolkit.oci.changes import Packed, changed_layer
from fairway.toolkit.oci.dockerfile import DockerfileError
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry, Layer, write_layer
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import Image, ImageStore
from fairway.toolkit.oci.streams import BadArchive

TEXT = """
ARG BASE=python:3
FROM $BASE AS build
ARG A=1
ENV HOME_DIR=/home/x
WORKDIR /app
COPY . .
RUN one
RUN ["two", "a b"]
RUN --mount=type=cache,target=${HOME_DIR}/.cache three
FROM build AS unused
RUN never
FROM nginx
COPY --from=build /app /app
RUN --network=none four
USER x
"""


def cut(text: str, target: str = "", **given: str) -> tuple[Part, ...]:
    return parts(stages.read(dockerfile.parse(text), given, target))


def test_a_dockerfile_is_cut_at_its_commands() -> None:
    found = cut(TEXT)
    assert [(part.label, len(part.runs), part.before, part.needs) for part in found] == [
        ("build", 2, 0, ()),
        ("build", 1, 1, ()),
        ("build", 0, 2, ()),
        ("stage-2", 1, 0, (3,)),
        ("stage-2", 0, 4, ()),
    ]
    assert found[0].lines == "lines 8 to 9" and not found[3].has_network
    assert [(mount.kind, mount.target) for mount in found[1].mounts] == [("cache", "/home/x/.cache")]


def test_a_target_needs_only_what_leads_to_it() -> None:
    assert [part.label for part in cut(TEXT, "UNUSED")] == ["build", "build", "build", "unused", "unused"]
    assert [part.label for part in cut(TEXT, "0")] == ["build", "build", "build"]
    with pytest.raises(DockerfileError, match="there is no stage 'x' to build; the stages are: build, unused"):
        cut(TEXT, "x")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("RUN x", "line 1: RUN before FROM"),
        ("FROM a\nRUN --mount=type=ssh git clone x", "line 2: --mount=type=ssh: there is no SSH agent"),
        ("FROM a\nRUN --security=insecure x", "line 2: RUN --security=insecure: builds have no privileges"),
        ("FROM a\nRUN --network=host x", "line 2: RUN --network=host: builds never see the node's network"),
        ("FROM a\nRUN --mount=type=cache x", "line 2: --mount=type=cache needs target=PATH"),
        ("FROM a\nRUN --mount=type=cache,target=/ x", "is the root folder"),
        ("FROM a\nRUN --mount=type=cache,target=x x", "write the whole path"),
        ("FROM a\nRUN --mount=type=magic,target=/x x", "type=magic is not known"),
        ("FROM a\nRUN --mount=type=bind,target=/x --mount=type=tmpfs,target=/x x", "two of them have the same target"),
        ("FROM a\nRUN --mount=type=bind,from=b,target=/x x\nFROM c AS b", "line 2: --from=b: the stage comes later"),
        ("FROM a\nRUN <<EOF\n" + "x" * 100_001 + "\nEOF", "more than 100000 characters; put it into a file"),
        ("FROM a\n" + "RUN x\nENV A=1\n" * 51, "51 groups of RUN in 1 stages are too many"),
        ("FROM a\n" + "ENV A=1\n" * 10_000, "line 2001: the file has more than 2000 instructions"),
        ("FROM a AS s0\n" + "".join(f"FROM s{n} AS s{n + 1}\nRUN x\n" for n in range(900)), "901 stages are needed"),
        ("FROM b AS a\nFROM a AS b\nFROM a AS b", "line 3: there are two stages named 'b'"),
        ("FROM b AS a\nFROM a AS b", "line 1: the stage 'b' goes on from itself or from a later one: a cycle"),
        ("FROM x AS a\nCOPY --from=a / /", "line 2: --from=a: the stage comes later or is this one: a cycle"),
        ("FROM x\nCOPY --from=7 / /", "line 2: --from=7: only earlier stages"),
        ("FROM --platform=plan9/vax x", "--platform=plan9/vax: images are made for"),
        ("# escape=x\nFROM x", "line 1: escape=x must be"),
    ],
)
def test_what_cannot_be_run_is_refused_by_line(text: str, said: str) -> None:
    with pytest.raises(DockerfileError, match=said):
        cut(text)


def test_a_thousand_stages_that_nobody_needs_are_no_work() -> None:
    text = "".join(f"FROM x AS s{n}\nRUN x\n" for n in range(900)) + "FROM y\nRUN z"
    assert [part.label for part in cut(text)] == ["stage-900", "stage-900"]


def test_the_jobs_of_a_dockerfile() -> None:
    make = Make("dockerfile", arguments={"A": "2"}, tags=("registry.example.com/team/shop:1",))
    pipeline = Pipeline("f", "w", (Job("test", "test"), Job("package", "package", needs=("test",), make=make)))
    found = with_runs(pipeline, {"Dockerfile": TEXT}, "registry/team/shop", "shop-7")
    assert isinstance(found, Pipeline)
    assert [(job.name, job.needs) for job in found.jobs[1:]] == [
        ("package-build-copy-1", ("test",)),
        ("package-build-run-1", ("package-build-copy-1",)),
        ("package-build-copy-2", ("package-build-run-1",)),
        ("package-build-run-2", ("package-build-copy-2",)),
        ("package-build", ("package-build-run-2",)),
        ("package-stage-2-copy-1", ("test", "package-build")),
        ("package-stage-2-run-1", ("package-stage-2-copy-1",)),
        ("package", ("package-stage-2-run-1",)),
    ]
    run, last = found.jobs[2], found.jobs[-1]
    assert run.image == "registry/team/shop:shop-7-package-1" and run.box and not run.script and not run.variables
    assert run.box.where == "Dockerfile lines 8 to 9"
    assert last.make is not None and (last.make.part, last.make.ran, last.make.is_last) == (
        5,
        "package-stage-2-run-1",
        True,
    )
    assert last.make.tags == make.tags and found.jobs[1].make and not found.jobs[1].make.tags
    problem = with_runs(pipeline, {"Dockerfile": "FROM a\nRUN --mount=type=ssh c"}, "r", "s")
    assert isinstance(problem, Problem) and problem.line == 2 and problem.file == "Dockerfile"


PLACE = render.Place("team", "shop", "shop-7", "uid", "/workspace", "http://10.42.0.1:8900", "python:3-slim", "PROGRAM")
MOUNTS = """FROM a
RUN --mount=type=secret,id=npmrc,target=/root/.npmrc --mount=type=secret,id=tok,env=TOKEN \\
    --mount=type=bind,target=/src --mount=type=cache,id=c,target=/c --mount=type=tmpfs,target=/t,size=8m \\
    --network=none x
"""


def test_a_box_mounts_what_its_commands_say_and_holds_nothing_else() -> None:
    variables = tuple(
        Variable(name=name, value_from={"secretKeyRef": {"name": "vault", "key": name}}) for name in ("npmrc", "tok")
    )
    pipeline = Pipeline("f", "w", (Job("image", "image", make=Make("dockerfile")),))
    found = with_runs(pipeline, {"Dockerfile": MOUNTS}, "r/team/shop", "shop-7", variables)
    assert isinstance(found, Pipeline)
    job = render.job(PLACE, found.jobs[1], Build(variables=variables), "x", 1)
    pod = job["spec"]["template"]["spec"]
    box = pod["initContainers"][-1]
    assert job["spec"]["template"]["metadata"]["labels"]["fairway.dev/network"] == "none"
    assert box["env"] == [{"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "vault", "key": "tok"}}}]
    assert box["securityContext"] == {
        "runAsUser": 0, "runAsGroup": 0, "allowPrivilegeEscalation": False, "privileged": False,
    }  # fmt: skip
    mounted = {mount["mountPath"]: (mount["name"], mount["readOnly"]) for mount in box["volumeMounts"][3:-1]}
    assert mounted["/root/.npmrc"] == ("mount-0", True) and mounted["/src"] == ("workspace", True)
    assert "token" not in {mount["name"] for mount in box["volumeMounts"]}
    assert not pod["automountServiceAccountToken"] and {"cpu", "memory", "ephemeral-storage"} == {
        *box["resources"]["limits"]
    }
    policy = render.network_policy("team", render.Network("10.42.0.1", 8900, (), ()), "none")
    assert policy["spec"]["egress"] == [
        {"to": [{"ipBlock": {"cidr": "10.42.0.1/32"}}], "ports": [{"protocol": "TCP", "port": 8900}]}
    ]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("--mount=type=secret,id=gone,required=true", "there is no secret 'gone'; add a variable of this name"),
        ("--mount=type=secret,id=plain", "there is no secret 'plain'"),
        ("--mount=type=cache,target=/proc/x", "target=/proc/x cannot be mounted"),
        ("--mount=type=cache,target=/.fairway", "cannot be mounted"),
    ],
)
def test_mounts_that_cannot_be(text: str, said: str) -> None:
    pipeline = Pipeline("f", "w", (Job("image", "image", make=Make("dockerfile")),))
    plain = Variable(name="plain", value_from={"configMapKeyRef": {"name": "x", "key": "y"}})
    problem = with_runs(pipeline, {"Dockerfile": f"FROM a\nRUN {text} x"}, "r", "s", (plain,))
    assert isinstance(problem, Problem) and said in problem.message and problem.line == 2


@pytest.fixture
def before(tmp_path: Path) -> tuple[ImageStore, Image]:
    store = ImageStore(tmp_path / "images")
    draft = Draft(store, None)
    draft.add([Entry("etc", mode=0o750), Entry("etc/old", data=b"old", mode=0o600)], "1")
    draft.add([Entry("etc/gone/a", data=b"a", mode=0o644), Entry("same", data=b"same", mode=0o644)], "2")
    draft.add([Entry("etc/.wh.never", data=b""), Entry("big", data=b"x" * (5 << 20))], "3")
    return store, draft.commit(parse("base:latest"))


Member = tuple[str, int, str, str]


def packed(folder: Path, *members: Member, listed: tuple[str, ...] = (), mounts: tuple[str, ...] = ()) -> Packed:
    """An archive of (name, mode, what, content); what is a type of tar's, `x` a file with a capability."""
    with tarfile.open(folder / "files.tar", "w", format=tarfile.PAX_FORMAT) as tar:
        for name, mode, what, content in members:
            info = tarfile.TarInfo(name)
            info.mode, info.type, info.mtime = mode, what.replace("x", "0").encode(), 12345
            if what == "x":
                info.pax_headers = {"SCHILY.xattr.security.capability": "\udc80\0cap", "SCHILY.xattr.trusted.x": "no"}
            if what in "0x":
                info.size = len(content)
            else:
                info.linkname = content
            tar.addfile(info, io.BytesIO(content.encode()) if what in "0x" else None)
    names = (*listed, *(name for name, *_ in members))
    (folder / "paths").write_bytes(b"".join(name.encode() + b"\0" for name in names))
    return Packed(folder / "files.tar", folder / "paths", mounts)


KEPT = ("etc", "etc/old", "same", "big", "etc/gone", "etc/gone/a")


def test_nothing_changed_is_no_layer(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    touched = (("etc", 0o750, "5", ""), ("etc/old", 0o600, "0", "old"))
    assert changed_layer(*before, packed(tmp_path, *touched, listed=KEPT)) is None


def test_what_was_covered_is_not_gone(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    listed = ("etc", "same", "big")
    assert changed_layer(*before, packed(tmp_path, listed=listed, mounts=("/etc/old", "/etc/gone"))) is None


def test_what_changed_is_a_layer_with_whiteouts(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    store, base = before
    more: tuple[Member, ...] = (
        ("./etc/new", 0o4755, "x", "new"),
        ("link", 0o777, "2", "/etc/passwd"),
        ("same", 0o644, "0", "same"),
        ("hard", 0o644, "1", "same"),
        ("pipe", 0o644, "6", ""),
        ("etc/.wh.old", 0o644, "0", ""),
    )
    listed = ("etc", "etc/old", "big")
    layer = changed_layer(store, base, packed(tmp_path, *more, listed=listed), latest=99)
    assert layer is not None
    with store.blobs.open(layer.descriptor.digest) as file, tarfile.open(fileobj=file, mode="r:gz") as tar:
        members = list(tar)
    found = {one.name: (one.type, oct(one.mode), one.linkname, one.size, one.mtime) for one in members}
    assert found == {
        "etc": (b"5", "0o750", "", 0, 0),
        "etc/.wh.gone": (b"0", "0o644", "", 0, 0),
        "etc/new": (b"0", "0o4755", "", 3, 99),
        "same": (b"0", "0o644", "", 4, 99),
        "hard": (b"1", "0o644", "same", 0, 99),
        "link": (b"2", "0o777", "/etc/passwd", 0, 99),
    }
    attributes = next(one.pax_headers for one in members if one.name == "etc/new")
    assert {name for name in attributes if name.startswith("SCHILY")} == {"SCHILY.xattr.security.capability"}


def test_a_folder_that_became_a_file_hides_what_was_in_it(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    store, base = before
    member: Member = ("etc/gone", 0o644, "0", "file")
    layer = changed_layer(store, base, packed(tmp_path, member, listed=("etc", "etc/old", "same", "big")))
    assert layer is not None
    draft = Draft(store, base)
    draft.add_layer(layer, "RUN")
    assert draft.look("etc/gone/a").mode is None and not draft.look("etc/gone").is_folder


@pytest.mark.parametrize(
    "member", [("../evil", 0o644, "0", "x"), ("a/../../evil", 0o644, "0", "x"), ("hard", 0o644, "1", "nowhere")]
)
def test_a_hostile_archive_is_refused(tmp_path: Path, before: tuple[ImageStore, Image], member: Member) -> None:
    with pytest.raises(BadArchive):
        changed_layer(*before, packed(tmp_path, member))
    assert not (tmp_path / "evil").exists()


def test_what_is_no_archive_is_refused(tmp_path: Path, before: tuple[ImageStore, Image]) -> None:
    (tmp_path / "files.tar").write_bytes(b"x" * 5000)
    with pytest.raises(BadArchive):
        changed_layer(*before, Packed(tmp_path / "files.tar", tmp_path / "files.tar"))


APP = ObjectKey("team", "shop")


def layer_of(store: ImageStore, number: int) -> Layer:
    return write_layer(store.blobs, [Entry(f"f{number}", data=bytes([number]) * 1000)])


def test_kept_layers_stay_while_they_are_used_and_fit(tmp_path: Path) -> None:
    store = ImageStore(tmp_path)
    layers = [layer_of(store, number) for number in range(3)]
    cache = LayerCache(store, APP, bytes_max=2 * layers[0].descriptor.size + 10)
    assert cache.find("a" * 40) is None
    for number in range(2):
        cache.keep(f"{number}" * 40, layers[number])
    cache.keep("n" * 40, None)
    assert cache.find("0" * 40) == Kept(layers[0]) and cache.find("n" * 40) == Kept(None)
    store.collect()
    assert store.blobs.has(layers[1].descriptor.digest) and not store.blobs.has(layers[2].descriptor.digest)
    layers[2] = layer_of(store, 2)
    assert cache.keep("2" * 40, layers[2]) == 1, "the one that was used longest ago went"
    assert [cache.find(f"{number}" * 40) is not None for number in range(3)] == [True, False, True]
    store.collect()
    assert not store.blobs.has(layers[1].descriptor.digest)
    assert list(apps(tmp_path)) == [APP] and LayerCache(store, ObjectKey("team", "other")).find("0" * 40) is None
    forget(tmp_path, APP)
    store.collect()
    assert cache.find("2" * 40) is None and not store.blobs.has(layers[2].descriptor.digest)
