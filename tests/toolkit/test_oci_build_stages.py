"""Dockerfiles with stages, copies out of images, here-documents and archives, as people write them."""

import io
import os
import stat
import tarfile
from pathlib import Path

import pytest

from fairway.toolkit.oci import shell_words, stages
from fairway.toolkit.oci.build import build
from fairway.toolkit.oci.context import Context
from fairway.toolkit.oci.dockerfile import DockerfileError, parse
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import Reference
from fairway.toolkit.oci.reference import parse as ref
from fairway.toolkit.oci.stack import Place, look
from fairway.toolkit.oci.store import Image, ImageStore


@pytest.fixture
def store(tmp_path: Path) -> ImageStore:
    """With an image that has links out, a program with a capability, owners, and something whited out."""
    store = ImageStore(tmp_path / "images")
    draft = Draft(store, None)
    draft.add(
        [
            Entry("opt/real/tool", 0o4755, data=b"tool", uid=7, gid=8, attributes={"user.note": b"\x80hi\0"}),
            Entry("opt/real/same", hard="opt/real/tool"),
            Entry("opt/abs", target="/opt/real"),
            Entry("opt/out", target="../../../../etc/passwd"),
            Entry("opt/gone", 0o644, data=b"gone"),
            Entry("etc/passwd", 0o644, data=b"app:x:1000:1001::/srv:\n"),
        ],
        "base",
    )
    draft.add([Entry("opt/.wh.gone", 0o644, data=b"")], "whiteout")
    draft.note("env", env=("PATH=/bin", "FROM_BASE=yes"))
    draft.commit(ref("tools:1"))
    return store


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    made = tmp_path / "context"
    for name in ("a.txt", "b.md", "sub/c.txt", "sub/deep/d.md", "sub/deep/e.txt"):
        (made / name).parent.mkdir(parents=True, exist_ok=True)
        (made / name).write_text(name)
    return made


def made(store: ImageStore, folder: Path, text: str, target: str = "", **given: str) -> Image:
    def find(wanted: Reference) -> Image:
        record = store.find(wanted)
        assert record is not None, wanted
        return store.load(record)

    with Context(folder) as context:
        recipe = stages.read(parse(text), given, target)
        return build(store, ref("made"), context, recipe, find, lambda line: None)


def place(image: Image, path: str) -> Place:
    return look(image.layers, path, read_bytes_max=1 << 20)


def names(image: Image, path: str) -> list[str]:
    top = next(Path(layer, path) for layer in image.layers if Path(layer, path).is_dir())
    return sorted(str(one.relative_to(top)) for one in top.rglob("*"))


STAGES = """
ARG TAG=1
FROM --platform=$BUILDPLATFORM tools:${TAG} AS Build
ARG TAG
ENV WHAT=${TAG:+tag-$TAG} WHERE="a b"
COPY a.txt /out/$WHAT
FROM nowhere.example.com/not:there AS unused
COPY missing /
FROM scratch AS files
COPY --from=build /out /copied
COPY --from=0 /opt/abs/tool /opt/abs/same /tools/
COPY --from=tools:1 /opt /all/
FROM build AS final
ENV LATER=$WHAT
COPY --from=files --chown=app /tools/tool /owned
LABEL tag=$TAG
"""


def test_stages_are_made_from_one_another(store: ImageStore, folder: Path) -> None:
    image = made(store, folder, STAGES)
    assert set(image.config.env) == {"PATH=/bin", "FROM_BASE=yes", "WHAT=tag-1", "WHERE=a b", "LATER=tag-1"}
    assert image.config.labels == {"tag": ""}, "an argument ends with its stage"
    assert place(image, "out/tag-1").data == b"a.txt"
    assert (place(image, "owned").uid, place(image, "owned").gid) == (1000, 1001)


def test_a_copy_out_of_an_image_keeps_what_its_files_are(store: ImageStore, folder: Path) -> None:
    image = made(store, folder, STAGES, "FILES", TAG="1")
    tool = place(image, "tools/tool")
    assert (tool.data, stat.S_IMODE(tool.mode or 0), tool.uid, tool.gid) == (b"tool", 0o4755, 7, 8)
    assert place(image, "copied/tag-1").data == b"a.txt"
    assert names(image, "all") == ["abs", "out", "real", "real/same", "real/tool"], "and not what is whited out"
    layer = next(Path(layer) for layer in image.layers if Path(layer, "all").is_dir())
    assert os.readlink(layer / "all/out") == "../../../../etc/passwd"
    assert os.getxattr(layer / "all/real/tool", "user.note") == b"\x80hi\0"


def test_links_in_a_stage_lead_nowhere_else(store: ImageStore, folder: Path) -> None:
    image = made(store, folder, "FROM scratch\nCOPY --from=tools:1 /opt/out /passwd")
    assert place(image, "passwd").data == b"app:x:1000:1001::/srv:\n", "its own, not this machine's"
    with pytest.raises(DockerfileError, match=r"'/opt/gone' is not in tools:1"):
        made(store, folder, "FROM scratch\nCOPY --from=tools:1 /opt/gone /")
    with pytest.raises(DockerfileError, match=r"line 2: no file in tools:1 matches '../../\*.conf'"):
        made(store, folder, "FROM scratch\nCOPY --from=tools:1 ../../*.conf /")


COPIES = """FROM tools:1
COPY --exclude=*.md --exclude=deep --chmod=u=rwX,go= sub /most/
COPY --parents sub/deep/*.txt a.txt /whole/
COPY --link --chmod=0750 ["a.txt", "/modes/"]
USER app
WORKDIR work
COPY <<one <<-"two" /texts/
kept $FROM_BASE
one
\t$FROM_BASE
\ttwo
SHELL ["/bin/bash", "-o", "pipefail", "-c"]
CMD serve it
VOLUME /data ["/x"]
EXPOSE 80
"""


def test_copies_as_people_write_them(store: ImageStore, folder: Path) -> None:
    image = made(store, folder, COPIES.replace("\n", "\r\n"))
    assert names(image, "most") == ["c.txt"] and stat.S_IMODE(place(image, "most/c.txt").mode or 0) == 0o600
    assert names(image, "whole") == ["a.txt", "sub", "sub/deep", "sub/deep/e.txt"]
    assert stat.S_IMODE(place(image, "modes/a.txt").mode or 0) == 0o750
    assert (place(image, "work").uid, place(image, "work").gid) == (1000, 1001)
    assert (place(image, "texts/one").data, place(image, "texts/two").data) == (b"kept yes\n", b"$FROM_BASE\n")
    assert image.config.cmd == ("/bin/bash", "-o", "pipefail", "-c", "serve it")


@pytest.mark.parametrize("kind", ["gz", "xz", "bz2", ""])
def test_archives_are_unpacked_and_cannot_lead_out(store: ImageStore, folder: Path, kind: str) -> None:
    mode = f"w:{kind}"
    with tarfile.open(str(folder / "box.tar"), mode) as tar:  # type: ignore[call-overload]  # a mode put together
        for name, data in (("../../up", b"up"), ("/abs/file", b"abs"), ("dir/tool", b"tool")):
            info = tarfile.TarInfo(name)
            info.size, info.mode, info.uid, info.mtime = len(data), 0o4711, 5, 77
            tar.addfile(info, io.BytesIO(data))
        link, hard = tarfile.TarInfo("dir/link"), tarfile.TarInfo("dir/hard")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        hard.type, hard.linkname = tarfile.LNKTYPE, "dir/tool"
        tar.addfile(link)
        tar.addfile(hard)
    image = made(store, folder, "FROM tools:1\nADD box.tar a.txt /in/\nCOPY box.tar /")
    assert names(image, "in") == ["a.txt", "abs", "abs/file", "dir", "dir/hard", "dir/link", "dir/tool", "up"]
    tool = place(image, "in/dir/tool")
    assert (stat.S_IMODE(tool.mode or 0), tool.uid, tool.data) == (0o4711, 5, b"tool")
    layer = next(Path(layer) for layer in image.layers if Path(layer, "in/dir").is_dir())
    assert (layer / "in/dir/hard").stat().st_nlink == 2 and place(image, "box.tar").data is not None


def test_an_image_that_wants_instructions_after_it_is_refused(store: ImageStore, folder: Path) -> None:
    draft = Draft(store, None)
    draft.note("x", on_build=("COPY . /app",))
    draft.commit(ref("old:1"))
    with pytest.raises(DockerfileError, match=r"line 2: the image old:1 has ONBUILD COPY \. /app; write that after"):
        made(store, folder, "\nFROM old:1\nCMD x")


def test_too_many_layers_are_refused_where_they_are(store: ImageStore, folder: Path) -> None:
    with pytest.raises(DockerfileError, match="line 122: the image gets more than 120 layers; join"):
        made(store, folder, "FROM scratch\n" + "".join(f"COPY a.txt /{number}\n" for number in range(150)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("FROM a\nRUN one \\\n  # a comment\n\n   two\nCMD x", ["a", "one    two", "x"]),
        ("# syntax=docker/dockerfile:1\n# escape=`\nFROM a\nRUN x `\ny \\", ["a", "x y \\"]),
        ("\ufeffFROM a\r\nRUN x \\\r\n  y\r\n", ["a", "x   y"]),
        ("FROM a\nRUN cat <<A <<'B' > /x\n$a\nA\nFROM b\nB\nCMD x", ["a", "cat <<A <<'B' > /x", "x"]),
        ('FROM a\nRUN echo "<<A"\nRUN echo 1<<2\n', ["a", 'echo "<<A"', "echo 1<<2"]),
    ],
)
def test_lines_are_put_together(text: str, found: list[str]) -> None:
    assert [one.arguments for one in parse(text)] == found


def test_here_documents_keep_their_lines() -> None:
    (_, run) = parse("FROM a\nRUN <<EOF\n# not a comment\n\n  \\\nEOF\n")
    assert run.heredocs[0].text == "# not a comment\n\n  \\\n" and run.line == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [('a \'b c\' "d\\" e" f\\ g', ("a", "'b c'", '"d\\" e"', "f\\ g")), ("${a:-b c} d", ("${a:-b c}", "d"))],
)
def test_words(text: str, words: tuple[str, ...]) -> None:
    assert shell_words.split(text) == words
