"""A person with a repository, in front of a real cluster: creates apps, pushes, looks."""

import os
import subprocess
import sys
import time
from pathlib import Path

import msgspec
import patience
from cluster import Cluster

from fairway.certificates import authority
from fairway.processes import probe_url
from fairway.processes.instance import Address

_SHOWN_SECONDS = patience.seconds(60)


def delivering(cluster: Cluster) -> Cluster:
    """The same cluster, once its delivery answers at the front door: `up` does not wait for that."""
    root, deadline = authority.paths(cluster.state_dir / "pki").certificate, time.monotonic() + _SHOWN_SECONDS
    door = ("https", Address("127.0.0.1", cluster.https), "git.fairway.localhost", "/", root)
    while "there is nothing here; apps are at" not in (said := probe_url.problem(*door)):
        assert time.monotonic() < deadline, f"delivery does not answer: {said}\n{cluster.log()}"
        time.sleep(0.05)
    return cluster


class Pushing:
    """A push that ends with the `with` at the latest, whatever happens there; what it says goes to a file."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self._terminal = folder.with_suffix(".terminal")
        with self._terminal.open("wb") as terminal:
            self.process = subprocess.Popen(
                ["git", "push", "fairway", "main"],
                cwd=folder,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=terminal,
                stderr=subprocess.STDOUT,
            )

    def __enter__(self) -> "Pushing":
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()

    @property
    def said(self) -> str:
        """What the terminal shows by now."""
        return self._terminal.read_text(errors="replace")

    def ended(self, seconds: float = patience.seconds(120)) -> str:
        """What the terminal shows at its end."""
        self.process.wait(seconds)
        return self.said


class Person(msgspec.Struct, frozen=True):
    """`home` holds repositories; commands run with the cluster's state directory."""

    cluster: Cluster
    home: Path

    def fairway(self, *arguments: str, folder: Path | None = None, check: bool = True, text: str = "") -> str:
        """A `fairway` command; what it says. Fails the test when it fails."""
        command = [
            sys.executable,
            "-m",
            "fairway.processes.main",
            *arguments,
            "--state-dir",
            str(self.cluster.state_dir),
        ]
        done = subprocess.run(
            command,
            cwd=folder or self.home,
            capture_output=True,
            text=True,
            timeout=patience.seconds(120),
            check=False,
            input=text,
        )
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"{' '.join(arguments)}: {said}\n{self.cluster.log()}"
        return said

    def repository(self, name: str) -> Path:
        """A new repository with branch main and nothing in it."""
        folder = self.home / name
        folder.mkdir(parents=True)
        self.git(folder, "init", "--quiet", "--initial-branch=main")
        return folder

    def commit(self, folder: Path, message: str = "change", **files: str) -> str:
        """Write files (`a__b_html` would be no path: give a dict through `files=`) and commit; the commit."""
        for name, text in files.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        self.git(folder, "add", "--all")
        self.git(folder, "commit", "--quiet", "--allow-empty", "-m", message)
        return self.git(folder, "rev-parse", "HEAD").strip()

    def push(self, folder: Path, *arguments: str, check: bool = True) -> str:
        """`git push fairway main`; what the terminal shows."""
        return self.git(folder, "push", *(arguments or ("fairway", "main")), check=check)

    def pushing(self, folder: Path) -> "Pushing":
        """`git push fairway main` that goes on while the test does something else."""
        return Pushing(folder, self._environment())

    def git(self, folder: Path, *arguments: str, check: bool = True) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            timeout=patience.seconds(120),
            check=False,
        )
        said = done.stdout + done.stderr
        assert not check or done.returncode == 0, f"git {' '.join(arguments)}: {said}\n{self.cluster.log()}"
        return said

    def _environment(self) -> dict[str, str]:
        who = {
            f"GIT_{role}_{what}": "person@example.com" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        inherited = {key: value for key, value in os.environ.items() if key != "GIT_SSL_CAINFO"}
        return {**inherited, **who, "GIT_CONFIG_GLOBAL": "/dev/null", "GIT_TERMINAL_PROMPT": "0"}

    def shows(self, host: str, text: str, path: str = "/") -> None:
        """The site says just that, as soon as the edge has heard of what is live."""
        deadline = time.monotonic() + _SHOWN_SECONDS
        while (seen := self.page(host, path)) != text:
            assert time.monotonic() < deadline, f"{host}{path} says {seen!r}, not {text!r}\n{self.cluster.log()}"
            time.sleep(0.02)

    def is_live(self, said: str, host: str, text: str) -> None:
        """Once a terminal has said that a version is live, the very next request gets it, or that was said too."""
        seen = self.page(host)
        assert "is live" in said and host in said, said
        assert seen == text or "the edge has not taken it yet" in said, f"{host} says {seen!r}, not {text!r}: {said}"

    def says(self, host: str, path: str = "/") -> str:
        """What the site says, as soon as it says something."""
        deadline = time.monotonic() + _SHOWN_SECONDS
        while not (seen := self.page(host, path)):
            assert time.monotonic() < deadline, f"{host}{path} says nothing\n{self.cluster.log()}"
            time.sleep(0.02)
        return seen

    def page(self, host: str, path: str = "/") -> str:
        """What the site says over TLS, with the sites' own root trusted; "" when it does not answer well."""
        root = authority.paths(self.cluster.state_dir / "pki").certificate
        front_door = Address("127.0.0.1", self.cluster.https)
        return probe_url.page(front_door, host, path, root, timeout_seconds=_SHOWN_SECONDS)
