"""Which part of a cgroup v2 tree is ours, on trees of plain files; the kernel's own is in tests/cgroup2."""

from pathlib import Path

import pytest

from fairway.engine.kubelet.runtime import delegation


def group(folder: Path, handed_down: str | None = "cpu memory pids") -> Path:
    """One that hands controllers down, or one of somebody else."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    if handed_down is not None:
        (folder / "cgroup.subtree_control").write_text(handed_down + "\n")
    return folder


@pytest.mark.parametrize(
    ("root", "lent", "own", "wanted"),
    [
        ("cpu memory pids", None, "/", "."),
        ("cpu memory pids", None, "/user.slice/scope", "."),
        ("memory", "cpu memory pids", "/user.slice/scope", "."),
        (None, "cpu memory pids", "/user.slice/scope", "user.slice/scope"),
        (None, "memory pids", f"/user.slice/scope/{delegation.LEAF}", "user.slice/scope"),
        (None, None, "/user.slice/scope", "."),
        (None, None, "/somewhere/else", "."),
    ],
)
def test_what_is_ours(tmp_path: Path, root: str | None, lent: str | None, own: str, wanted: str) -> None:
    group(tmp_path, root)
    group(tmp_path / "user.slice" / "scope", lent)
    assert Path(delegation.claim(str(tmp_path), own)) == tmp_path / wanted
    writable = [tmp_path] * (root is not None) + [tmp_path / "user.slice/scope"] * (lent is not None and own != "/")
    assert list(map(Path, delegation.writable(str(tmp_path), own))) == writable


def test_version_1_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "memory").mkdir()
    assert delegation.claim(str(tmp_path), "/user.slice/scope") == str(tmp_path)
    assert delegation.writable(str(tmp_path), "/") == ()


def test_processes_are_moved_out_before_controllers_are_handed_down(tmp_path: Path) -> None:
    """Here they cannot go, as files are no kernel: then the group is not ours, as limits of memory would not hold."""
    group(tmp_path, None)
    scope = group(tmp_path / "scope", "")
    (scope / "cgroup.type").write_text("domain\n")
    (scope / "cgroup.procs").write_text("123\n")
    assert delegation.claim(str(tmp_path), "/scope") == str(tmp_path)
    assert (scope / delegation.LEAF / "cgroup.procs").read_text() == "123"
    assert (scope / "cgroup.subtree_control").read_text() == "\n"
