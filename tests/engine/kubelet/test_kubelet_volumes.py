"""Volumes: what is in them, that they change all at once, and that nothing leads out of them."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from fairway.engine.kubelet.errors import VolumeProblem
from fairway.engine.kubelet.volumes import atomic_folder
from fairway.engine.kubelet.volumes.host_path import host_path
from fairway.engine.kubelet.volumes.mounts import PlainMounts, SystemMounts
from fairway.engine.kubelet.volumes.payload import File, Objects, files
from fairway.kube.api.config import ConfigMap, Secret
from fairway.kube.api.noun import decode
from fairway.kube.api.pods import HostPathVolume, Pod

NOW = datetime(2026, 1, 1, tzinfo=UTC)
OBJECTS = Objects(
    config_maps={"c": ConfigMap(data={"a": "1", "b": "2"}, binary_data={"bin": "AAE="})},
    secrets={"s": Secret(data={"key": "c2VjcmV0"})},
    allocatable={"cpu": "2"},
)


def made(source: dict[str, Any]) -> dict[str, tuple[bytes, int]]:
    metadata = {"name": "web", "namespace": "n", "labels": {"app": "web", "x": 'a"b'}}
    container = {"name": "app", "resources": {"limits": {"memory": "1Mi"}}}
    pod = decode(Pod, {"metadata": metadata, "spec": {"containers": [container], "volumes": [{"name": "v", **source}]}})
    return {each.path: (each.data, each.mode) for each in files(pod, pod.spec.volumes[0], OBJECTS)}


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        pytest.param(
            {"configMap": {"name": "c"}},
            {"a": (b"1", 0o644), "b": (b"2", 0o644), "bin": (b"\0\1", 0o644)},
            id="all keys",
        ),
        pytest.param(
            {"configMap": {"name": "c", "items": [{"key": "a", "path": "x/y", "mode": 0o600}]}},
            {"x/y": (b"1", 0o600)},
            id="one key elsewhere",
        ),
        pytest.param({"configMap": {"name": "no", "optional": True}}, {}, id="optional and absent"),
        pytest.param({"secret": {"secretName": "s", "defaultMode": 0o400}}, {"key": (b"secret", 0o400)}, id="secret"),
        pytest.param(
            {"downwardAPI": {"items": [{"path": "labels", "fieldRef": {"fieldPath": "metadata.labels"}}]}},
            {"labels": (b'app="web"\nx="a\\"b"', 0o644)},
            id="labels",
        ),
        pytest.param(
            {
                "downwardAPI": {
                    "items": [
                        {"path": "m", "resourceFieldRef": {"containerName": "app", "resource": "limits.memory"}},
                    ]
                }
            },
            {"m": (b"1048576", 0o644)},
            id="limit",
        ),
        pytest.param(
            {
                "projected": {
                    "defaultMode": 0o440,
                    "sources": [
                        {"configMap": {"name": "c", "items": [{"key": "a", "path": "a"}]}},
                        {"secret": {"name": "s"}},
                        {"downwardAPI": {"items": [{"path": "n", "fieldRef": {"fieldPath": "metadata.name"}}]}},
                        {"serviceAccountToken": {"path": "token"}},
                    ],
                }
            },
            {"a": (b"1", 0o440), "key": (b"secret", 0o440), "n": (b"web", 0o440)},
            id="projected",
        ),
    ],
)
def test_files(source: dict[str, Any], expected: dict[str, tuple[bytes, int]]) -> None:
    assert made(source) == expected


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"configMap": {"name": "no"}}, 'configmap "no" not found'),
        ({"secret": {"secretName": "no"}}, 'secret "no" not found'),
        (
            {"configMap": {"name": "c", "items": [{"key": "no", "path": "x"}]}},
            "configmap references non-existent config key: no",
        ),
    ],
)
def test_what_is_missing_is_named(source: dict[str, Any], message: str) -> None:
    with pytest.raises(VolumeProblem) as problem:
        made(source)
    assert (problem.value.volume, problem.value.message) == ("v", message)


def contents(folder: Path) -> dict[str, str]:
    shown = (path for path in folder.iterdir() if not path.name.startswith(".."))
    every = (file for path in shown for file in (path.rglob("*") if path.is_dir() else (path,)))
    return {str(file.relative_to(folder)): file.read_text() for file in every if file.is_file()}


def test_a_folder_changes_all_at_once(tmp_path: Path) -> None:
    first = (File("a", b"1", 0o644), File("sub/b", b"2", 0o600))
    assert atomic_folder.write(tmp_path, first, NOW)
    assert contents(tmp_path) == {"a": "1", "sub/b": "2"}
    assert os.stat(tmp_path / "sub/b").st_mode & 0o777 == 0o600
    old = os.readlink(tmp_path / "..data")
    assert not atomic_folder.write(tmp_path, first, NOW + timedelta(seconds=1))
    assert os.readlink(tmp_path / "..data") == old
    assert atomic_folder.write(tmp_path, (File("a", b"3", 0o644), File("c", b"4", 0o644)), NOW + timedelta(seconds=2))
    assert contents(tmp_path) == {"a": "3", "c": "4"}
    assert not (tmp_path / old).exists() and os.readlink(tmp_path / "a") == "..data/a"


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x", "..data", ""])
def test_a_path_out_of_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    with pytest.raises(ValueError, match="invalid path"):
        atomic_folder.write(tmp_path, (File(path, b"", 0o644),), NOW)


def test_the_pods_group_may_read(tmp_path: Path) -> None:
    atomic_folder.write(tmp_path, (File("a", b"1", 0o400),), NOW, group=1234)
    found = os.stat(tmp_path / "a")
    assert (found.st_gid, found.st_mode & 0o777) == (1234, 0o440)


def test_host_paths_are_refused_unless_allowed(tmp_path: Path) -> None:
    outside, inside = tmp_path / "outside", tmp_path / "inside"
    outside.mkdir()
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    allowed = (str(inside),)
    assert host_path("v", HostPathVolume(path=str(inside / "new"), type="DirectoryOrCreate"), allowed).is_dir()
    for path, kind in ((outside, ""), (inside / "link", ""), (inside / "../outside", ""), (inside / "no", "Directory")):
        with pytest.raises(VolumeProblem):
            host_path("v", HostPathVolume(path=str(path), type=kind), allowed)


def test_a_link_in_a_volume_does_not_lead_out(tmp_path: Path) -> None:
    volume, secret = tmp_path / "volume", tmp_path / "secret"
    volume.mkdir()
    secret.mkdir()
    (secret / "key").write_text("secret")
    (volume / "evil").symlink_to(secret)
    (volume / "up").symlink_to("../secret")
    mounts = PlainMounts()
    for name in ("evil", "up"):
        with pytest.raises(OSError):
            mounts.beneath(volume, f"{name}/key", tmp_path / "target" / name, create=False)
    mounts.beneath(volume, "new/deep", tmp_path / "made", create=True)
    assert (volume / "new" / "deep").is_dir()


@pytest.mark.real
def test_real_mounts(node: Any) -> None:
    async def body(node: Any) -> None:
        mounts = SystemMounts()
        memory = node.folder / "memory"
        mounts.memory(memory, 1 << 20)
        mounts.memory(memory, 1 << 20)
        (memory / "file").write_text("text")
        target = node.folder / "targets" / "file"
        mounts.beneath(memory, "file", target, create=False)
        mounts.beneath(memory, "file", target, create=False)
        assert target.read_text() == "text" and os.path.ismount(target)
        mounts.release(target)
        assert target.read_text() == ""
        mounts.release(target)
        mounts.release(memory)
        assert not (memory / "file").exists()

    node(body)
