"""Repositories: what they answer, and what hostile ones cannot do."""

import hashlib
import io
import os
import shutil
import tarfile
from datetime import UTC, datetime
from pathlib import Path

import pytest
from git_work import Work
from small_disk import small_disk

from fairway.delivery.git import Limits, Repositories, SourceError, upkeep
from fairway.kube.api.meta import ObjectKey
from fairway.toolkit.clock import FakeClock

KEY = ObjectKey("default", "site")


@pytest.fixture
def work(tmp_path: Path) -> Work:
    return Work(tmp_path / "work")


@pytest.fixture
def repositories(tmp_path: Path) -> Repositories:
    return Repositories(tmp_path / "state" / "repositories", local=True)


async def planted(repositories: Repositories, work: Work) -> None:
    """Put objects into the repository past all checks, as if a check had been forgotten."""
    path = await repositories.ensure(KEY)
    shutil.copytree(work.folder / ".git/objects", path / "objects", dirs_exist_ok=True)
    (path / "refs/heads/main").write_text(work.git("rev-parse", "main") + "\n")
    repositories.git.own_all(path)


async def test_a_new_repository_is_empty_and_belongs_to_nobody_in_particular(repositories: Repositories) -> None:
    path = await repositories.ensure(KEY)
    assert path == await repositories.ensure(KEY)
    assert await repositories.head(KEY, "main") is None
    assert (path.stat().st_uid != 0) == (os.geteuid() == 0)
    assert repositories.apps() == (KEY,)


async def test_a_fetched_branch_can_be_read(repositories: Repositories, work: Work, tmp_path: Path) -> None:
    work.commit("first")
    commit = work.commit("the \x1b[31mred\x1b[0m second\n\nand more", **{"index.html": "<p>hello", "-x": "dash"})
    assert await repositories.fetch(KEY, str(work.folder), "main", None) == commit
    assert await repositories.head(KEY, "main") == commit
    assert await repositories.subject(KEY, commit) == "the  [31mred [0m second"
    assert await repositories.read_file(KEY, commit, "index.html") == b"<p>hello"
    assert await repositories.read_file(KEY, commit, "nothing") is None
    assert [(one.name, one.kind, one.size_bytes) for one in await repositories.entries(KEY, commit)] == [
        ("-x", "file", 4),
        ("index.html", "file", 8),
    ]
    await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=1000)
    assert (tmp_path / "out" / "index.html").read_text() == "<p>hello"


async def test_a_forced_change_of_a_branch_is_fetched(repositories: Repositories, work: Work) -> None:
    work.commit("one", a="1")
    await repositories.fetch(KEY, str(work.folder), "main", None)
    work.git("commit", "-q", "--amend", "-m", "other")
    assert await repositories.fetch(KEY, str(work.folder), "main", None) == work.git("rev-parse", "HEAD")


async def test_a_large_file_is_not_read(repositories: Repositories, work: Work) -> None:
    commit = work.commit(big="x" * 1000)
    await repositories.fetch(KEY, str(work.folder), "main", None)
    with pytest.raises(SourceError, match="big is too large: it has 1000 bytes; at most 999 are read"):
        await repositories.read_file(KEY, commit, "big", bytes_max=999)


async def test_packed_branches_are_found(repositories: Repositories, work: Work) -> None:
    commit = work.commit()
    await planted(repositories, work)
    path = repositories.path(KEY)
    await repositories.git.output(("pack-refs", "--all"), path)
    assert not (path / "refs/heads/main").exists()
    assert await repositories.head(KEY, "main") == commit


@pytest.mark.parametrize("branch", ["../../HEAD", "-x", "a..b", "a b", "x.lock", "", "a\nb", "a/../b", "@"])
async def test_names_that_no_branch_has_are_no_branches(repositories: Repositories, branch: str) -> None:
    await repositories.ensure(KEY)
    assert await repositories.head(KEY, branch) is None


@pytest.mark.parametrize("commit", ["main", "--output=/tmp/x", "HEAD", "a" * 39, "$(id)"])
async def test_only_commits_are_asked_for(repositories: Repositories, commit: str) -> None:
    await repositories.ensure(KEY)
    with pytest.raises(SourceError, match="is not the id of a commit"):
        await repositories.subject(KEY, commit)
    with pytest.raises(SourceError, match="is not the id of a commit"):
        await repositories.entries(KEY, commit)


async def test_names_that_no_app_has_are_refused(repositories: Repositories) -> None:
    for key in (ObjectKey("..", "x"), ObjectKey("a", "../b"), ObjectKey("", "x"), ObjectKey("a/b", "c")):
        with pytest.raises(SourceError, match="is not a name of an App"):
            await repositories.ensure(key)


@pytest.mark.real
async def test_a_full_disk_makes_no_short_files(repositories: Repositories, work: Work, tmp_path: Path) -> None:
    """The last write of a file may take a part of it, and say nothing."""
    commit = work.commit(**{"index.html": "<p>hello" * 8500})
    await repositories.fetch(KEY, str(work.folder), "main", None)
    with small_disk(tmp_path / "small", "64k") as place, pytest.raises(OSError, match="No space left"):
        await repositories.checkout(KEY, commit, "", place / "out", bytes_max=1 << 20)


async def test_a_removed_repository_is_gone(repositories: Repositories, work: Work) -> None:
    work.commit()
    await planted(repositories, work)
    await repositories.remove(KEY)
    assert await repositories.head(KEY, "main") is None
    assert repositories.apps() == ()
    await repositories.remove(KEY)


HOSTILE = [
    pytest.param("100644", b"..", r"the path \.\. has the part", id="up"),
    pytest.param("100644", b".git", "belongs to git itself", id="git"),
    pytest.param("100644", b".GIT ", "belongs to git itself", id="git in disguise"),
    pytest.param("100644", b"a\nb", "has control characters", id="newline"),
    pytest.param("100644", b"a\x1b[2Jb", r"the path a \[2Jb has control characters", id="escape"),
    pytest.param("100644", b"/etc/passwd", "is absolute", id="absolute"),
    pytest.param("100644", b"a/../../b", 'has the part ".."', id="up in the middle"),
    pytest.param("100644", b"n" * 256, "longer than 255 bytes", id="long name"),
]


@pytest.mark.parametrize(("mode", "name", "text"), HOSTILE)
async def test_a_hostile_name_is_refused(
    repositories: Repositories, work: Work, tmp_path: Path, mode: str, name: bytes, text: str
) -> None:
    commit = work.commit_tree(work.tree((mode, work.blob(b"evil"), name)))
    await planted(repositories, work)
    with pytest.raises(SourceError, match=text):
        await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=1000)
    assert not (tmp_path / "out").exists()


LINKS = [
    pytest.param({"a": b"/etc/passwd"}, r'the link a to "/etc/passwd" is absolute', id="absolute"),
    pytest.param({"a": b"../x"}, "the link a .* leaves the folder", id="up"),
    pytest.param({"a": b"b/../../x", "b": b"."}, "the link a .* leaves the folder", id="up through a link"),
    pytest.param({"a": b"b/b/x", "b": b".."}, "the link [ab] .* leaves the folder", id="a link up"),
    pytest.param({"a": b"b", "b": b"a"}, "the link a .* goes round in circles", id="circle"),
    pytest.param({"a": b"x\0y"}, "points to nothing", id="nul"),
]


@pytest.mark.parametrize(("links", "text"), LINKS)
async def test_a_hostile_link_is_refused(
    repositories: Repositories, work: Work, tmp_path: Path, links: dict[str, bytes], text: str
) -> None:
    rows = [("120000", work.blob(target), name.encode()) for name, target in sorted(links.items())]
    commit = work.commit_tree(work.tree(*rows))
    await planted(repositories, work)
    with pytest.raises(SourceError, match=text):
        await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=1000)


async def test_links_inside_are_kept_and_submodules_left_out(
    repositories: Repositories, work: Work, tmp_path: Path
) -> None:
    (work.folder / "sub").mkdir()
    (work.folder / "sub" / "up").symlink_to("../file")
    (work.folder / "folder").symlink_to("sub/./")
    (work.folder / "broken").symlink_to("not-there")
    work.commit(file="text")
    work.git("update-index", "--add", "--cacheinfo", f"160000,{'a' * 40},module")
    work.git("commit", "-q", "-m", "module")
    commit = work.git("rev-parse", "HEAD")
    await planted(repositories, work)
    notes = await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=1000)
    assert notes == ("module is a submodule and was left out",)
    assert (tmp_path / "out/folder/up").read_text() == "text"
    assert (tmp_path / "out/broken").is_symlink() and not (tmp_path / "out/module").exists()


async def test_a_folder_of_a_commit_is_its_own_world(repositories: Repositories, work: Work, tmp_path: Path) -> None:
    (work.folder / "sub").mkdir()
    (work.folder / "sub" / "in").write_text("in")
    commit = work.commit(outside="out")
    (work.folder / "sub" / "up").symlink_to("../outside")
    with_link = work.commit()
    await planted(repositories, work)
    await repositories.checkout(KEY, commit, "sub", tmp_path / "out", bytes_max=1000)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["in"]
    with pytest.raises(SourceError, match=r"the link up .* leaves the folder"):
        await repositories.checkout(KEY, with_link, "sub", tmp_path / "more", bytes_max=1000)
    with pytest.raises(SourceError, match="the folder nothing of the commit"):
        await repositories.checkout(KEY, commit, "nothing", tmp_path / "none", bytes_max=1000)


async def test_a_tree_that_unfolds_without_end_is_stopped(
    repositories: Repositories, work: Work, tmp_path: Path
) -> None:
    tree = work.tree(("100644", work.blob(b""), b"f"))
    for _ in range(12):
        tree = work.tree(*(("40000", tree, name) for name in (b"a", b"b", b"c", b"d", b"e", b"f", b"g", b"h")))
    commit = work.commit_tree(tree)
    await planted(repositories, work)
    with pytest.raises(SourceError, match="more than 50000 files; that is the limit"):
        await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=1000)


async def test_too_much_and_too_deep_are_refused_by_name(work: Work, tmp_path: Path) -> None:
    repositories = Repositories(tmp_path / "repositories", limits=Limits(depth_max=3), local=True)
    (work.folder / "a/b/c/d").mkdir(parents=True)
    commit = work.commit(zeros="0" * 5000)
    await planted(repositories, work)
    with pytest.raises(SourceError, match=r"with zeros \(5000 bytes\) the files have 5000 bytes; the limit is 4999"):
        await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=4999)
    (work.folder / "a/b/c/d/file").write_text("deep")
    commit = work.commit()
    await planted(repositories, work)
    with pytest.raises(SourceError, match="the path a/b/c/d/file is more than 3 folders deep"):
        await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=9999)


async def test_a_name_that_is_there_twice_is_refused(repositories: Repositories, work: Work, tmp_path: Path) -> None:
    inner = work.tree(("100644", work.blob(b"2"), b"b"))
    twice = work.tree(("100644", work.blob(b"1"), b"a"), ("100644", work.blob(b"2"), b"a"))
    both = work.tree(("120000", work.blob(b"/tmp"), b"a"), ("40000", inner, b"a"))
    for tree in (twice, both):
        commit = work.commit_tree(tree)
        await planted(repositories, work)
        with pytest.raises(SourceError, match="the path a "):
            await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=1000)


async def test_a_tarball_holds_the_same_files_and_is_the_same_each_time(repositories: Repositories, work: Work) -> None:
    (work.folder / "run").symlink_to("file")
    (work.folder / "program").write_bytes(os.urandom(700_000))
    (work.folder / "program").chmod(0o755)
    commit = work.commit(file="text", empty="", **{"ä b": "name"})
    await planted(repositories, work)
    one, other = [b"".join([piece async for piece in repositories.tarball(KEY, commit)]) for _ in range(2)]
    assert hashlib.sha256(one).digest() == hashlib.sha256(other).digest()
    with tarfile.open(fileobj=io.BytesIO(one), mode="r:gz") as tar:
        assert sorted(tar.getnames()) == ["empty", "file", "program", "run", "ä b"]
        assert tar.getmember("program").mode == 0o755 and tar.getmember("run").linkname == "file"
        program = tar.extractfile("program")
        assert program is not None and program.read() == (work.folder / "program").read_bytes()


async def test_attributes_of_the_repository_change_nothing(
    repositories: Repositories, work: Work, tmp_path: Path
) -> None:
    attributes = "* export-ignore\n* filter=evil\n* text eol=crlf\n* export-subst\n"
    commit = work.commit(**{".gitattributes": attributes, "file": "$Format:%H$\n"})
    await planted(repositories, work)
    await repositories.checkout(KEY, commit, "", tmp_path / "out", bytes_max=1000)
    assert (tmp_path / "out/file").read_bytes() == b"$Format:%H$\n"


async def test_leftovers_of_killed_processes_are_cleared_at_first_use(
    repositories: Repositories, work: Work, tmp_path: Path
) -> None:
    commit = work.commit()
    await planted(repositories, work)
    path = repositories.path(KEY)
    locks = [path / name for name in ("refs/heads/main.lock", "packed-refs.lock", "HEAD.lock", "gc.pid")]
    for left in (*locks, path / "objects/pack/tmp_pack_x"):
        left.touch()
    (path / "objects/tmp_objdir-incoming-x/pack").mkdir(parents=True)
    (path / "hooks/pre-receive").write_text("#!/bin/sh\n")
    again = Repositories(repositories.root)
    await again.ensure(KEY)
    assert not [left for left in locks if left.exists()]
    assert not list(path.glob("objects/tmp*")) and not list(path.glob("objects/pack/tmp*"))
    assert "FAIRWAY_BLOB_BYTES_MAX" in (path / "hooks/pre-receive").read_text()
    assert await again.head(KEY, "main") == commit


async def test_a_removed_repository_is_put_aside_for_a_week(repositories: Repositories, work: Work) -> None:
    work.commit()
    await planted(repositories, work)
    await repositories.remove(KEY)
    await repositories.ensure(KEY)
    assert await repositories.head(KEY, "main") is None
    clock = FakeClock(datetime.now(UTC))
    await upkeep.once(repositories, clock)
    assert len(list(repositories.root.glob(".removed/default.site.*"))) == 1
    await clock.advance(8 * 86400)
    await upkeep.once(repositories, clock)
    assert not list(repositories.root.glob(".removed/*"))


async def test_upkeep_packs_what_has_grown(repositories: Repositories, work: Work) -> None:
    commit = work.commit(**{f"f{number}": str(number) for number in range(600)})
    await planted(repositories, work)
    await upkeep.once(repositories, FakeClock())
    assert list(repositories.path(KEY).glob("objects/pack/*.pack"))
    assert await repositories.read_file(KEY, commit, "f7") == b"7"
