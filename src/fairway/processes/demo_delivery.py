"""The second half of the demo: a repository, a push, a live site; a change, a push, the change live."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from fairway.certificates import authority
from fairway.cli import terminal
from fairway.processes import probe_url
from fairway.processes.instance import Settings

_APP = "hello"
_LIVE_SECONDS = 60.0
_PAGE = """<!doctype html>
<meta charset="utf-8">
<title>hello from Fairway</title>
<style>
  body {{ font: 1.2rem system-ui, sans-serif; display: grid; place-content: center; height: 100vh; margin: 0;
         color: #fff; background: {colour}; text-align: center }}
  h1 {{ font-size: 3rem; margin: 0 }}
</style>
<h1>{title}</h1>
<p>pushed with git, live on its own domain</p>
"""


class DeliveryFailed(Exception):
    """A step of the demo did not do what it should; the message says which and how."""


def host(settings: Settings) -> str:
    """The domain of the site that is pushed."""
    return f"{_APP}.{settings.platform_domain}"


def folder(settings: Settings) -> Path:
    """The repository that is pushed."""
    return settings.path / "demo-site"


def show(settings: Settings) -> str:
    """Create, push, look, change, push, look; returns the site's address. Raises DeliveryFailed."""
    site = folder(settings)
    shutil.rmtree(site, ignore_errors=True)
    site.mkdir()
    _git(site, "init", "--quiet", "--initial-branch=main")
    fairway = [sys.executable, "-m", "fairway.processes.main"]
    where = ["--state-dir", settings.state_dir]
    subprocess.run([*fairway, "app", "delete", _APP, "--yes", *where], capture_output=True, check=False)
    _run(site, "fairway", fairway, "app", "create", _APP, "--domain", host(settings), "--remote", *where)
    url = f"https://{host(settings)}:{settings.https.port}/"
    for title, colour in (("Hello", "#1a6b54"), ("Hello again", "#7a3e9d")):
        _commit(site, title, colour)
        began = time.monotonic()
        _run(site, "git", ["git"], "push", "fairway", "main")
        _until_served(settings, title)
        seconds = time.monotonic() - began
        terminal.ok(f"{url} says “{title}” {seconds:.1f} s after the push began")
    return url


def _commit(folder: Path, title: str, colour: str) -> None:
    (folder / "index.html").write_text(_PAGE.format(title=title, colour=colour))
    _git(folder, "add", "--all")
    who = ("-c", "user.name=Fairway demo", "-c", "user.email=demo@fairway.invalid", "-c", "commit.gpgsign=false")
    _git(folder, *who, "commit", "--quiet", "-m", title)


def _git(folder: Path, *arguments: str) -> None:
    subprocess.run(["git", *arguments], cwd=folder, check=True)


def _run(folder: Path, name: str, command: list[str], *arguments: str) -> None:
    """One command as a person would type it, with what it says."""
    shown = " ".join(word for word in (name, *arguments) if word)
    print(f"\n  {terminal.paint('$ ' + shown, 'bold')}", flush=True)
    # Stronger in git than what the repository says about one place: the sites' own root would not be believed.
    environment = {key: value for key, value in os.environ.items() if key != "GIT_SSL_CAINFO"}
    done = subprocess.run([*command, *arguments], cwd=folder, env=environment, check=False)
    if done.returncode:
        raise DeliveryFailed(f"`{shown}` ended with {done.returncode}")


def _until_served(settings: Settings, title: str) -> None:
    deadline = time.monotonic() + _LIVE_SECONDS
    root = authority.paths(settings.path / "pki").certificate
    while True:
        body = probe_url.page(settings.https, host(settings), "/", root)
        if f"<h1>{title}</h1>" in body:
            return
        if time.monotonic() > deadline:
            raise DeliveryFailed(f"https://{host(settings)} does not say “{title}” after {_LIVE_SECONDS:.0f} s")
        time.sleep(0.02)
