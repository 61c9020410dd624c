"""`fairway image …` from arguments to what runs: bases assembled for real, sites built on them."""

import argparse
import os
import re
import subprocess
from pathlib import Path

import pytest

from fairway.cli import images
from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import Image, ImageStore

SANDBOX = """
set -e
mount -t tmpfs tmpfs "$1"; mkdir "$1/up" "$1/work" "$1/root"
mount -t overlay overlay -o "lowerdir=$2,upperdir=$1/up,workdir=$1/work" "$1/root"
mount -t proc proc "$1/root/proc"; mount --rbind /dev "$1/root/dev"; ip link set lo up
cd "$1/root"; shift 2
exec setpriv --no-new-privs --bounding-set "$KEPT" chroot . /bin/sh -c "$1"
"""
# What containers keep; everything else is dropped.
KEPT = (
    "-all,+chown,+dac_override,+fsetid,+fowner,+net_raw,+setgid,+setuid,+setfcap,+setpcap,+net_bind_service,"
    "+sys_chroot,+kill"
)
SERVE = 'nginx -g "daemon off;" & until wget -qO- http://127.0.0.1/ 2>/dev/null; do sleep 0.05; done; '


def fairway(state: Path, *words: str) -> int:
    parser = argparse.ArgumentParser()
    images.add_parser(parser.add_subparsers(), state)
    arguments = parser.parse_args(["image", *words])
    code: int = arguments.run(arguments)
    return code


def run_in(image: Image, folder: Path, script: str) -> str:
    """Run a shell in the image, in namespaces that end with it."""
    folder.mkdir()
    done = subprocess.run(
        ["unshare", "-mnpf", "--kill-child", "sh", "-c", SANDBOX, "sh", str(folder), ":".join(image.layers), script],
        capture_output=True, text=True, timeout=180, env={**os.environ, "KEPT": KEPT},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def load(state: Path, name: str) -> Image:
    store = ImageStore(state / "images")
    record = store.find(parse(name))
    assert record is not None
    return store.load(record)


@pytest.fixture(scope="session")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A state folder with every base image in it, assembled once."""
    folder = tmp_path_factory.mktemp("state")
    for base in ("busybox", "nginx", "python", "static"):
        assert fairway(folder, "build", "--base", base) == 0
    return folder


@pytest.mark.real
def test_nginx_serves(state: Path, tmp_path: Path) -> None:
    out = run_in(load(state, "nginx:alpine"), tmp_path / "root", SERVE + "ps; kill -QUIT $!; wait $!")
    assert "nginx    nginx: worker process" in out  # not root
    assert "<h1>Welcome to nginx!</h1>" in out
    assert '"GET / HTTP/1.1" 200' in out  # the access log goes to standard output
    config = load(state, "nginx").config
    assert (config.cmd, config.exposed_ports, config.stop_signal) == (
        ("nginx", "-g", "daemon off;"),
        ("80/tcp",),
        "SIGQUIT",
    )


@pytest.mark.real
def test_python_runs_with_its_library(state: Path, tmp_path: Path) -> None:
    script = (
        "python -c 'import http.server, json, sqlite3, ssl, zoneinfo, sys\n"
        "from os.path import exists\n"
        "print(len(ssl.create_default_context().get_ca_certs()) > 100, exists(json.__cached__))\n"
        'print(zoneinfo.ZoneInfo("Asia/Shanghai"))\''
    )
    out = run_in(load(state, "python:3-slim"), tmp_path / "root", script)
    assert out.split() == ["True", "True", "Asia/Shanghai"]


@pytest.mark.real
def test_busybox_has_its_tools(state: Path, tmp_path: Path) -> None:
    assert run_in(load(state, "busybox"), tmp_path / "root", "id -un nobody; ls -d /tmp; echo a | sed s/a/b/") == (
        "nobody\n/tmp\nb\n"
    )


def test_static_has_certificates_and_no_programs(state: Path) -> None:
    (layer,) = load(state, "static").layers
    assert (Path(layer) / "etc/ssl/certs/ca-certificates.crt").read_text().count("BEGIN CERTIFICATE") > 100
    assert os.listdir(Path(layer) / "usr/bin") == []


def test_a_second_assembly_is_instant_and_equal(state: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = load(state, "busybox")
    assert fairway(state, "build", "--base", "busybox", "-t", "reg.test/tools:1") == 0
    assert "up to date" in capsys.readouterr().out
    assert load(state, "reg.test/tools:1").digest == before.digest


def test_assembling_again_gives_the_same_image(state: Path) -> None:
    before = load(state, "busybox")
    assert fairway(state, "build", "--base", "busybox", "--again") == 0
    assert load(state, "busybox").digest == before.digest


@pytest.mark.real
def test_a_static_site(state: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    (site / "css").mkdir(parents=True)
    (site / "index.html").write_text("my own page\n")
    (site / ".env").write_text("SECRET")
    assert fairway(state, "build", "-t", "my-web:1.0", str(site)) == 0
    script = SERVE + "wget -qO- http://127.0.0.1/.env || echo hidden; kill $!; wait $!"
    out = run_in(load(state, "my-web:1.0"), tmp_path / "root", script)
    assert ("my own page" in out, "hidden" in out, "SECRET" in out) == (True, True, False)


@pytest.mark.real
def test_a_dockerfile_on_a_base(state: Path, tmp_path: Path) -> None:
    app = tmp_path / "app"
    app.mkdir()
    (app / "main.py").write_text("print('hello from', __file__)")
    (app / "Dockerfile").write_text('FROM python:3-slim\nWORKDIR /app\nCOPY main.py .\nCMD ["python", "main.py"]\n')
    assert fairway(state, "build", "-t", "my-app", "-t", "my-app:2", str(app)) == 0
    image = load(state, "my-app:2")
    assert (image.config.working_dir, image.config.cmd) == ("/app", ("python", "main.py"))
    assert run_in(image, tmp_path / "root", "cd /app && python main.py").strip() == "hello from /app/main.py"


def test_listing_and_removing(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    site = tmp_path / "site"
    site.mkdir()
    (site / "index.html").write_text("x")
    assert fairway(state, "build", "-t", "harbor.corp.com/team/web:v9", str(site)) == 0
    capsys.readouterr()
    assert fairway(state, "ls") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["NAME", "TAG", "ID", "SIZE", "CREATED", "ORIGIN"]
    row = next(line for line in lines if line.startswith("harbor.corp.com/team/web"))
    assert row.split()[1] == "v9"
    assert re.search(r"(just now|\d+ minutes? ago)\s+local$", row), row
    folder = Path(load(state, "harbor.corp.com/team/web:v9").layers[0])
    assert fairway(state, "rm", "harbor.corp.com/team/web:v9", "ghost") == 1
    assert "no image named ghost" in capsys.readouterr().err
    assert not folder.exists()
    assert load(state, "nginx").layers


def test_importing(state: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "x.tar").write_bytes(b"nothing")
    assert fairway(state, "import", str(tmp_path / "x.tar")) == 1
    assert fairway(state, "import", str(tmp_path / "none.tar")) == 1
    assert "No such file or directory" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["build"], "give a folder"),
        (["build", "/etc"], "give the image a name"),
        (["build", "-t", "x", "/etc/none"], "No such file"),
        (["build", "-t", "x", "/usr/bin"], "neither a Dockerfile nor an index.html"),
        (["build", "-t", "BAD", "/etc"], "repository name must be lowercase"),
        (["rm", "a b"], "invalid reference format"),
    ],
)
def test_mistakes_are_explained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], message: str
) -> None:
    assert fairway(tmp_path, *words) == 1
    assert message in capsys.readouterr().err


def test_a_missing_mmdebstrap_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert fairway(tmp_path, "build", "--base", "nginx") == 1
    assert "apt-get install -y mmdebstrap" in capsys.readouterr().err


def test_a_state_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert fairway(tmp_path / "file", "ls") == 1
    assert "Not a directory" in capsys.readouterr().err
