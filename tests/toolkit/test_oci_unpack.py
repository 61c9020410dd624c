"""Unpacking layers: faithful for good archives, contained for evil ones."""

import gzip
import hashlib
import io
import os
import stat
import tarfile
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest

from fairway.toolkit.oci.members import Limits
from fairway.toolkit.oci.streams import BadArchive
from fairway.toolkit.oci.unpack import main, unpack

Adder = Callable[[tarfile.TarFile], None]
FOLDER, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE


def entry(
    name: str, kind: bytes = tarfile.REGTYPE, target: str = "", data: bytes = b"", **facts: int
) -> Callable[[tarfile.TarFile], None]:
    def add(tar: tarfile.TarFile) -> None:
        info = tarfile.TarInfo(name)
        info.type, info.linkname, info.size = kind, target, len(data)
        info.mode = facts.get("mode", 0o755 if kind == FOLDER else 0o644)
        info.uid, info.gid, info.mtime = facts.get("uid", 0), facts.get("gid", 0), facts.get("mtime", 1000)
        tar.addfile(info, io.BytesIO(data))

    return add


def archive(*adders: Adder) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for add in adders:
            add(tar)
    return buffer.getvalue()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_text("old")
    (tmp_path / "layer").mkdir()
    return tmp_path / "layer"


def outside(folder: Path) -> dict[str, str]:
    """What is beside the layer's folder, to see that nothing changed."""
    return {str(path.relative_to(folder.parent)): path.read_text() for path in folder.parent.glob("outside/*")}


def test_a_good_layer_is_unpacked_faithfully(folder: Path) -> None:
    plain = archive(
        entry("./", FOLDER, mode=0o755),
        entry("./bin/", FOLDER, mode=0o711, mtime=5),
        entry("bin/tool", data=b"#!", mode=0o4755, uid=7, gid=8, mtime=1234),
        entry("bin/again", HARD, "bin/tool"),
        entry("lib", LINK, "usr/lib"),
        entry("deep/down/file", data=b"x"),
        entry("pipe", tarfile.FIFOTYPE),
        entry("dev/null", tarfile.CHRTYPE),
    )
    done = unpack(io.BytesIO(plain), folder)
    tool = (folder / "bin/tool").stat()
    assert (stat.S_IMODE(tool.st_mode), tool.st_uid, tool.st_gid, tool.st_mtime) == (0o4755, 7, 8, 1234)
    assert (folder / "bin/again").samefile(folder / "bin/tool")
    assert (folder / "bin").stat().st_mtime == 5
    assert os.readlink(folder / "lib") == "usr/lib"
    assert (folder / "deep/down/file").read_bytes() == b"x"
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    assert not (folder / "dev/null").exists()
    assert done.diff_id == done.digest == "sha256:" + hashlib.sha256(plain).hexdigest()


@pytest.mark.parametrize("members", [1, 3])
def test_both_digests_of_a_gzip_layer(folder: Path, members: int) -> None:
    plain = archive(*(entry(f"f{number}", data=os.urandom(100_000)) for number in range(20)))
    step = len(plain) // members + 1
    packed = b"".join(gzip.compress(plain[start : start + step], 1) for start in range(0, len(plain), step))
    done = unpack(io.BytesIO(packed), folder)
    assert done.digest == "sha256:" + hashlib.sha256(packed).hexdigest()
    assert done.diff_id == "sha256:" + hashlib.sha256(plain).hexdigest()
    assert (done.compressed_bytes, done.plain_bytes, len(os.listdir(folder))) == (len(packed), len(plain), 20)


def test_whiteouts_become_those_of_overlayfs(folder: Path) -> None:
    unpack(
        io.BytesIO(
            archive(
                entry("etc/.wh.gone"),
                entry("var/.wh..wh..opq"),
                entry("var/new", data=b"1"),
                entry(".wh..wh.plnk/x"),
                entry("srv/.wh.www"),
                entry("srv/www", FOLDER),
                entry("opt/both", FOLDER),
                entry("opt/.wh.both"),
            )
        ),
        folder,
    )
    gone = (folder / "etc/gone").lstat()
    assert stat.S_ISCHR(gone.st_mode) and gone.st_rdev == 0
    for replaced in ("var", "srv/www", "opt/both"):
        assert os.getxattr(folder / replaced, "trusted.overlay.opaque") == b"y"


def test_a_later_entry_replaces_an_earlier_one(folder: Path) -> None:
    unpack(
        io.BytesIO(
            archive(
                entry("a/b/c", data=b"1"),
                entry("a", data=b"now a file"),
                entry("x", LINK, "/etc"),
                entry("x", data=b"now a file"),
                entry("x", data=b"newest"),
            )
        ),
        folder,
    )
    assert ((folder / "a").read_bytes(), (folder / "x").read_bytes()) == (b"now a file", b"newest")


@pytest.mark.parametrize(
    "adders",
    [
        pytest.param([entry("../outside/secret", data=b"evil")], id="dot dot"),
        pytest.param([entry("a/../../outside/secret", data=b"evil")], id="dot dot in the middle"),
        pytest.param([entry("link", LINK, "/"), entry("link/{}/secret", data=b"evil")], id="link to the root"),
        pytest.param([entry("link", LINK, "../outside"), entry("link/secret", data=b"evil")], id="link to a sibling"),
        pytest.param([entry("{}/secret", data=b"evil")], id="absolute name"),
        pytest.param([entry("l1", LINK, "."), entry("l1/l2", LINK, ".."), entry("l1/l2/outside/secret", data=b"evil")],
                     id="chain of links"),
        pytest.param([entry("link", LINK, "/proc/self/cwd"), entry("link/x", data=b"evil")], id="magic link"),
        pytest.param([entry("link", LINK, "{}"), entry("link/.wh.secret")], id="whiteout through a link"),
        pytest.param([entry("link", LINK, "{}/secret"), entry("link", data=b"evil")], id="file over a link"),
        pytest.param([entry("dir", LINK, "{}"), entry("dir", FOLDER, mode=0o777), entry("dir/secret", data=b"evil")],
                     id="folder over a link"),
    ],
)  # fmt: skip
def test_nothing_reaches_outside(folder: Path, adders: list[Adder]) -> None:
    place = str(folder.parent / "outside")
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar, tarfile.open(fileobj=io.BytesIO(archive(*adders))) as source:
        for info in source:
            info.name, info.linkname = info.name.replace("{}", place), info.linkname.replace("{}", place)
            tar.addfile(info, io.BytesIO(b"evil"[: info.size]))
    before = (outside(folder), sorted(os.listdir(folder.parent)))
    try:
        unpack(io.BytesIO(buffer.getvalue()), folder)
    except BadArchive:
        pass
    assert (outside(folder), sorted(os.listdir(folder.parent))) == before


@pytest.mark.parametrize(
    ("adders", "message"),
    [
        ([entry("h", HARD, "../outside/secret")], "No such file"),
        ([entry("l", LINK, "../outside"), entry("h", HARD, "l/secret")], "No such file"),
        ([entry("h", HARD, "/etc/passwd")], "No such file"),
        ([entry("h", HARD, "nothing")], "no file of this layer"),
        ([entry("d", FOLDER), entry("h", HARD, "d")], "no file of this layer"),
        ([entry("f", data=b"x"), entry("f/below", data=b"x")], "Not a directory"),
        ([entry("l", LINK, "nowhere"), entry("l/below", data=b"x")], "No such file"),
        ([entry(".wh.", data=b"")], "hides nothing"),
        ([entry(".wh...", data=b"")], "hides nothing"),
        ([entry("f", uid=-1)], "out of range"),
        ([entry("a/" * 500 + "f")], "deep"),
        ([entry("x" * 5000)], "long"),
    ],
)
def test_evil_entries_are_refused(folder: Path, adders: list[Adder], message: str) -> None:
    with pytest.raises(BadArchive, match=message):
        unpack(io.BytesIO(archive(*adders)), folder)


def test_bombs_are_refused(folder: Path) -> None:
    big = archive(entry("zeros", data=bytes(8 << 20)))
    with pytest.raises(BadArchive, match="more than"):
        unpack(io.BytesIO(zlib.compress(big, wbits=31)), folder, limits=Limits(plain_bytes=1 << 20))
    with pytest.raises(BadArchive, match="more than 3 entries"):
        unpack(io.BytesIO(archive(*(entry(f"f{n}") for n in range(9)))), folder, limits=Limits(entries=3))


def test_a_giant_header_is_refused(folder: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 1 << 30

    class Zeros(io.RawIOBase):
        def __init__(self) -> None:
            self.head = info.tobuf(tarfile.GNU_FORMAT)

        def read(self, size: int = -1) -> bytes:
            data, self.head = self.head or bytes(size), b""
            return data

    with pytest.raises(BadArchive, match="unreasonably large header"):
        unpack(Zeros(), folder)  # type: ignore[arg-type]


def test_a_sparse_bomb_is_refused(folder: Path) -> None:
    info = tarfile.TarInfo("sparse")
    info.pax_headers = {"GNU.sparse.major": "0", "GNU.sparse.minor": "1", "GNU.sparse.name": "sparse",
                        "GNU.sparse.size": str(1 << 50), "GNU.sparse.map": "0,0"}  # fmt: skip
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    with pytest.raises(BadArchive, match="more than"):
        unpack(io.BytesIO(buffer.getvalue()), folder)


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(b"not a tar at all" * 100, id="text"),
        pytest.param(gzip.compress(archive(entry("f", data=os.urandom(5000))))[:-200], id="cut gzip"),
        pytest.param(archive(entry("f", data=b"x" * 5000))[:2000], id="cut tar"),
        pytest.param(b"\x28\xb5\x2f\xfd" + bytes(50), id="zstd without the package or broken"),
    ],
)
def test_broken_archives(folder: Path, data: bytes) -> None:
    with pytest.raises(BadArchive):
        unpack(io.BytesIO(data), folder)


def test_attributes_that_steer_overlays_are_left_out(folder: Path) -> None:
    info = tarfile.TarInfo("f")
    info.pax_headers = {"SCHILY.xattr.user.note": "1", "SCHILY.xattr.trusted.overlay.redirect": "/x"}
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        tar.addfile(info)
    unpack(io.BytesIO(buffer.getvalue()), folder)
    assert [name for name in os.listxattr(folder / "f") if not name.startswith("security.selinux")] == ["user.note"]


def test_as_a_process(folder: Path, tmp_path: Path, capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    (tmp_path / "a.tar").write_bytes(archive(entry("f", data=b"x")))
    assert main([str(tmp_path / "a.tar"), str(folder)]) == 0
    assert b'"plain_bytes"' in capfdbinary.readouterr().out
    (tmp_path / "b.tar").write_bytes(b"nonsense")
    assert main([str(tmp_path / "b.tar"), str(folder)]) == 1
    assert b"broken tar" in capfdbinary.readouterr().err
