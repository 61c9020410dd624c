"""Dockerfiles, build folders, drafts and archives, with the store they end in."""

import io
import json
import os
import stat
import tarfile
from pathlib import Path

import pytest

from fairway.toolkit.content_store import sha256
from fairway.toolkit.oci import documents, shell_words, stages
from fairway.toolkit.oci.archive import import_archive
from fairway.toolkit.oci.build import build, static_site
from fairway.toolkit.oci.context import Context, ContextError, ignore_rules
from fairway.toolkit.oci.dockerfile import DockerfileError, Instruction, parse
from fairway.toolkit.oci.documents import ConfigFile, Descriptor, Index, Manifest, RootFs, RunConfig
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry, write_layer
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.reference import parse as ref
from fairway.toolkit.oci.stack import look
from fairway.toolkit.oci.store import Image, ImageStore, mounted_layers
from fairway.toolkit.oci.streams import BadArchive


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    return ImageStore(tmp_path / "images")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    made.mkdir()
    return made


def fill(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / name.replace("__", "/").replace("_DOT_", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def base(store: ImageStore) -> Image:
    """An image with the shapes that trip builders: a merged /usr, a sticky /tmp, users."""
    draft = Draft(store, None)
    draft.add(
        [
            Entry("usr/lib/x", 0o644, data=b"x"),
            Entry("lib", target="usr/lib"),
            Entry("tmp", 0o1777),
            Entry("srv", 0o750, uid=33, gid=33),
            Entry("etc/passwd", 0o644, data=b"app:x:1000:1001::/srv:\n"),
            Entry("etc/group", 0o644, data=b"staff:x:50:\n"),
        ],
        "base",
    )
    draft.note("env", env=("PATH=/bin", "A=base"), cmd=("old",))
    return draft.commit(ref("base"))


def made(store: ImageStore, folder: Path, text: str, **arguments: str) -> Image:
    base(store)

    def find(wanted: Reference) -> Image:
        record = store.find(wanted)
        assert record is not None, wanted
        return store.load(record)

    with Context(folder) as context:
        return build(store, ref("made"), context, stages.read(parse(text), arguments), find, lambda line: None)


def read(image: Image, path: str) -> bytes | None:
    return look(image.layers, path, read_bytes_max=1 << 20).data


def test_every_instruction(store: ImageStore, folder: Path) -> None:
    fill(folder, index_DOT_html="hi", src__app_DOT_py="app", src__deep__x="x")
    os.chmod(folder / "src/app.py", 0o700)
    image = made(
        store,
        folder,
        """# syntax=docker/dockerfile:1
ARG TAG=latest
FROM base:$TAG AS final
ARG VERSION=1
ENV A=2 B="b c" \\
    # a comment in between
    V=$VERSION
LABEL org.example.a="x y"
WORKDIR /srv/app
WORKDIR sub
COPY ../index.html /tmp/
COPY --chown=app:staff --chmod=640 src/ .
ADD src/deep /deep
USER app
EXPOSE 80 53/udp 8000-8001
ENTRYPOINT ["./app.py"]
CMD run $A
STOPSIGNAL SIGQUIT
HEALTHCHECK CMD true
""".replace("../index", "index"),
        VERSION="7",
    )
    assert read(image, "tmp/index.html") == b"hi"
    assert read(image, "srv/app/sub/app.py") == b"app"
    assert read(image, "deep/x") == b"x"
    script = look(image.layers, "srv/app/sub/app.py")
    assert (stat.S_IMODE(script.mode or 0), script.uid, script.gid) == (0o640, 1000, 50)
    assert stat.S_IMODE(look(image.layers, "tmp").mode or 0) == 0o1777
    assert look(image.layers, "srv").uid == 33
    config = image.config
    assert config.env == ("PATH=/bin", "A=2", "B=b c", "V=7")
    assert (config.working_dir, config.user, config.stop_signal) == ("/srv/app/sub", "app", "SIGQUIT")
    assert (config.entrypoint, config.cmd) == (("./app.py",), ("/bin/sh", "-c", "run $A"))
    assert config.exposed_ports == ("53/udp", "80/tcp", "8000/tcp", "8001/tcp")
    assert config.labels == {"org.example.a": "x y"}


def test_history_matches_the_layers(store: ImageStore, folder: Path) -> None:
    fill(folder, a="1")
    image = made(store, folder, "FROM base\nENV X=1\nCOPY a /a\nCMD x")
    config = store.config(store.manifest(image.manifest_digest))
    layers = [step for step in config.history or () if not step.empty_layer]
    assert len(layers) == len(config.rootfs.diff_ids) == len(image.layers) == 2
    assert layers[-1].created_by == "COPY a /a"


def test_same_input_same_digest(tmp_path: Path, folder: Path) -> None:
    digests = set()
    for number in range(2):
        fill(folder, b="2", a="1", sub__c="3")
        os.utime(folder / "a", (number, number))
        os.umask(0o077 if number else 0o022)
        fill(folder, sub__d="4")
        digests.add(made(ImageStore(tmp_path / f"store{number}"), folder, "FROM base\nCOPY . /site").digest)
    os.umask(0o022)
    assert len(digests) == 1


def test_copies_go_through_links_of_the_base(store: ImageStore, folder: Path) -> None:
    fill(folder, lib__new="new", file="f")
    image = made(store, folder, "FROM base\nCOPY . /\nCOPY file /lib/sub/")
    assert os.readlink(Path(image.layers[-1], "lib")) == "usr/lib"
    assert (read(image, "usr/lib/new"), read(image, "lib/x"), read(image, "lib/sub/file")) == (b"new", b"x", b"f")


def test_ignored_files_stay_out(store: ImageStore, folder: Path) -> None:
    fill(
        folder,
        a="1",
        b_DOT_log="2",
        keep_DOT_log="3",
        node_modules__x="4",
        _DOT_dockerignore="*.log\n!keep.log\nnode_modules",
    )
    image = made(store, folder, "FROM base\nCOPY . /all")
    top = Path(image.layers[0], "all")
    assert sorted(os.listdir(top)) == [".dockerignore", "a", "keep.log"]


@pytest.mark.parametrize(
    ("dockerfile", "message"),
    [
        ("", "line 1: the file has no instructions"),
        ("FROM base\nRUN apt-get update", "line 2: RUN is not supported: this builder runs nothing"),
        ("FROM base\n\n# x\nCOPY ../secret /", "line 4: '../secret' is outside the build folder"),
        ("FROM base\nCOPY a/../../secret /", "line 2: 'a/../../secret' is outside"),
        ("FROM base\nCOPY missing /", "line 2: 'missing' is not in the build folder"),
        ("FROM base\nCOPY *.none /", r"no file in the build folder matches '\*.none'"),
        ("FROM base\nCOPY --from=base /a /b", "'/a' is not in base"),
        ("FROM base\nCOPY absolute /b", "'absolute' is a symbolic link to '/etc', outside"),
        ("FROM base\nCOPY . /b", "is a symbolic link to"),
        ("FROM base\nCOPY inner/up/secret /b", "goes through a symbolic link"),
        ("FROM base\nCOPY pipe /b", "neither a file nor a folder"),
        ("FROM base\nCOPY a", "line 2: COPY needs at least one source and a destination"),
        ("FROM base\nCOPY a inner/file /b", "several sources need a destination that ends with '/'"),
        ("FROM base\nCOPY a /etc/passwd/x", "/etc/passwd is a file in the image"),
        ("FROM base\nCOPY --chown=nobody a /b", "the image has no 'nobody' in /etc/passwd"),
        ("FROM base\nCOPY --chmod=rw a /b", "not an octal number"),
        ("FROM base\nADD http://example.test/x /b", "nothing is downloaded"),
        ("FROM base\nADD broken.tgz /b", "'broken.tgz' cannot be unpacked: broken gzip stream"),
        ("FROM base\nCOPY <<EOF /b\nx\n", "the here-document EOF has no end"),
        ("FROM B A D", "line 1: FROM B A D: write FROM IMAGE or FROM IMAGE AS NAME"),
        ("FROM B", "line 1: 'B': invalid reference format"),
        ("FROM base\nONBUILD COPY a /b", "line 2: ONBUILD is not supported"),
        ("COPY a /b", "line 1: COPY before FROM"),
        ("FROM base\nEXPOSE web", "'web' is not a port"),
        ("FROM base\nENV A", "ENV needs NAME=VALUE"),
        ("FROM base\nNONSENSE x", "line 2: unknown instruction: NONSENSE"),
        ("FROM base\nCMD", "line 2: CMD needs arguments"),
        ("FROM base\nWORKDIR /etc/passwd", "is a file in the image"),
        ("FROM base\nLABEL a='x", "No closing quotation"),
    ],
)
def test_what_cannot_be_built_is_said_with_its_line(
    store: ImageStore, folder: Path, dockerfile: str, message: str
) -> None:
    fill(folder, a="1", inner__file="2")
    fill(folder.parent, secret="s")
    (folder / "absolute").symlink_to("/etc")
    (folder / "inner/up").symlink_to("../..")
    os.mkfifo(folder / "pipe")
    (folder / "broken.tgz").write_bytes(b"\x1f\x8bnothing")
    with pytest.raises(DockerfileError, match=message):
        made(store, folder, dockerfile)
    assert store.find(ref("made")) is None


def test_links_inside_the_folder_are_kept(store: ImageStore, folder: Path) -> None:
    fill(folder, real="r", sub__x="x")
    (folder / "alias").symlink_to("sub/../real")
    (folder / "sub/up").symlink_to("../real")
    image = made(store, folder, "FROM base\nCOPY sub /sub\nCOPY alias /copied")
    assert os.readlink(Path(image.layers[1], "sub/up")) == "../real"
    assert read(image, "copied") == b"r"


def test_from_scratch(store: ImageStore, folder: Path) -> None:
    fill(folder, tool="#!")
    image = made(store, folder, 'FROM scratch\nWORKDIR /\nCOPY tool /tool\nENTRYPOINT ["/tool"]')
    assert (len(image.layers), read(image, "tool")) == (1, b"#!")


def test_static_site_hides_what_is_hidden(store: ImageStore, folder: Path) -> None:
    fill(folder, index_DOT_html="hi", _DOT_env="SECRET", _DOT_git__config="x", _DOT_well_known__a="ok", css__a="c")
    (folder / ".well_known").rename(folder / ".well-known")
    with Context(folder) as context:
        paths = [entry.path for entry in static_site(context, "www")]
    assert paths == ["www/.well-known", "www/.well-known/a", "www/css", "www/css/a", "www/index.html"]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("$A-${A}-${B:-d$A}-${A:+y}-${B:+n}", "1-1-d1-y-"),
        (r"\$A $B", "$A "),
        ("${E-x}${E:-y}${A?no}${B-${A}2}", "y112"),
        ("'$A' \"$A 'b'\" a\\ b", "$A 1 'b' a b"),
        ("${P#*/} ${P##*/} ${P%/*} ${P%%/*} ${P/b/X} ${P//?/-}", "b/c c a/b a a/X/c -----"),
    ],
)
def test_variables(text: str, expected: str) -> None:
    assert shell_words.expand(text, {"A": "1", "E": "", "P": "a/b/c"}) == expected


@pytest.mark.parametrize("text", ["${A", "'a", "${1a!}", "${B:?is needed}"])
def test_words_that_are_none(text: str) -> None:
    with pytest.raises(shell_words.BadWord):
        shell_words.expand(text, {})


def test_parsing_keeps_lines_and_flags() -> None:
    text = "# escape=`\nFROM a `\n  AS b\n\ncopy --chown=1:2 x y"
    assert parse(text) == (
        Instruction(2, "FROM", "a   AS b", escape="`"),
        Instruction(5, "COPY", "x y", {"chown": ("1:2",)}, escape="`"),
    )


@pytest.mark.parametrize(
    ("rules", "path", "ignored"),
    [
        ("*.md", "a.md", True),
        ("*.md", "sub/a.md", False),
        ("**/*.md", "sub/deep/a.md", True),
        ("**/*.md", "a.md", True),
        ("/build/", "build/x/y", True),
        ("a?c\n!abc", "abc", False),
        ("[ab].txt", "b.txt", True),
        ("# x\n\n", "x", False),
        ("!a\na", "a", True),
    ],
)
def test_ignore_rules(rules: str, path: str, ignored: bool) -> None:
    assert ignore_rules(rules)(path) is ignored


def test_a_build_folder_must_be_one(tmp_path: Path) -> None:
    with pytest.raises(ContextError, match="No such file"):
        Context(tmp_path / "none")


def test_looking_into_a_stack(store: ImageStore, tmp_path: Path) -> None:
    top, middle, bottom = (tmp_path / name for name in ("top", "middle", "bottom"))
    for layer in (top, middle, bottom):
        layer.mkdir()
    fill(bottom, etc__passwd="old", gone="x", opaque__a="a", dir__x="x", under__f="f")
    fill(middle, etc__passwd="new", opaque__b="b")
    os.mknod(top / "gone", stat.S_IFCHR, os.makedev(0, 0))
    os.setxattr(middle / "opaque", "trusted.overlay.opaque", b"y")
    (top / "abs").symlink_to("/etc/passwd")
    (top / "loop").symlink_to("loop")
    (top / "up").symlink_to("../../../../etc/passwd")
    (top / "dir").symlink_to("/etc")
    (top / "under").write_text("a file over a folder")
    layers = [top, middle, bottom]
    assert look(layers, "/abs", read_bytes_max=99) == look(layers, "up", read_bytes_max=99)
    assert look(layers, "abs", read_bytes_max=99).data == b"new"
    assert look(layers, "dir/passwd", read_bytes_max=99).data == b"new"
    assert [look(layers, path).mode for path in ("gone", "opaque/a", "under/f", "nothing/at/all")] == [None] * 4
    assert look(layers, "opaque/b").mode is not None
    with pytest.raises(OSError, match="Too many levels"):
        look(layers, "loop")


def saved(tmp_path: Path, store: ImageStore, *, tags: list[str] | None, lie: bool = False) -> Path:
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w") as tar:
        info = tarfile.TarInfo("file")
        info.size = 2
        tar.addfile(info, io.BytesIO(b"hi"))
    diff_id = "sha256:" + "0" * 64 if lie else sha256(plain.getvalue())
    config = documents.encode(ConfigFile("amd64", "linux", RootFs((diff_id,)), RunConfig(cmd=("x",))))
    path = tmp_path / "saved.tar"
    with tarfile.open(path, "w") as tar:
        listing = json.dumps([{"Config": "c.json", "RepoTags": tags, "Layers": ["l/layer.tar"]}]).encode()
        for name, data in (("manifest.json", listing), ("c.json", config), ("l/layer.tar", plain.getvalue())):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return path


def test_importing_what_docker_saved(store: ImageStore, tmp_path: Path) -> None:
    path = saved(tmp_path, store, tags=["web:1", "reg.io/web:2"])
    images = import_archive(store, path, None, lambda line: None)
    assert [image.reference for image in images] == ["docker.io/library/web:1", "reg.io/web:2"]
    assert (read(images[0], "file"), images[0].config.cmd, images[0].origin) == (b"hi", ("x",), "local")


def test_importing_needs_a_name_and_true_layers(store: ImageStore, tmp_path: Path) -> None:
    nameless = saved(tmp_path, store, tags=None)
    with pytest.raises(BadArchive, match="give it one with -t NAME"):
        import_archive(store, nameless, None, lambda line: None)
    assert import_archive(store, nameless, ref("given"), lambda line: None)[0].reference.endswith("given:latest")
    with pytest.raises(BadArchive, match="the configuration says"):
        import_archive(store, saved(tmp_path, store, tags=["x"], lie=True), None, lambda line: None)
    (tmp_path / "text.tar").write_text("no tar")
    with pytest.raises(BadArchive):
        import_archive(store, tmp_path / "text.tar", None, lambda line: None)


def test_importing_an_oci_layout(store: ImageStore, tmp_path: Path) -> None:
    source = ImageStore(tmp_path / "source")
    layer = write_layer(source.blobs, [Entry("file", 0o644, data=b"oci")])
    config = documents.encode(ConfigFile("amd64", "linux", RootFs((layer.diff_id,))))
    manifest = documents.encode(
        Manifest(Descriptor(documents.CONFIG, sha256(config), len(config)), (layer.descriptor,))
    )
    notes = {"io.containerd.image.name": "docker.io/library/oci:1"}
    top = Index((Descriptor(documents.MANIFEST, sha256(manifest), len(manifest), None, notes),))
    blobs = {sha256(data): data for data in (config, manifest, source.blobs.read(layer.descriptor.digest))}
    with tarfile.open(tmp_path / "oci.tar", "w") as tar:
        files = {"index.json": documents.encode(top), **{"blobs/" + d.replace(":", "/"): b for d, b in blobs.items()}}
        for name, data in files.items():
            info = tarfile.TarInfo("./" + name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    (image,) = import_archive(store, tmp_path / "oci.tar", None, lambda line: None)
    assert (image.reference, image.digest, read(image, "file")) == ("docker.io/library/oci:1", sha256(manifest), b"oci")


def test_unfinished_layers_are_swept(store: ImageStore) -> None:
    (store.root / "layers" / ".0123.dead").mkdir()
    with store.unfinished_layer("sha256:" + "1" * 64) as living:
        assert ImageStore(store.root).sweep() == 1
        assert living.is_dir()


def test_mounts_can_be_read() -> None:
    assert isinstance(mounted_layers(), set)
