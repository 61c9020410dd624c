"""What runs in the platform's containers of a build pod: fetch sources, artifacts and caches, and bring them back.

The text of this file is the program, run with `python3 -I -c` in an image that has nothing but Python 3.10 or newer; it
imports nothing of the project. `python3 -I -c … source|upload` reads its task from the variable FAIRWAY_TASK.
"""

import glob
import http.client
import json
import os
import py_compile
import shutil
import signal  # noqa: F401  # lent to the program that runs commands
import sys
import tarfile
import tempfile
import time
import urllib.error
import urllib.request
import zlib
from collections.abc import Iterator
from typing import Any

TOKEN_FILE = "/fairway/token/token"
CHANGES = "/fairway/changes/changes.json"
"""What apigate.py noted, where the job may change the cluster."""
_ATTEMPTS = 5
_PATIENCE_SECONDS = 120.0  # a platform that starts again on a busy machine takes its time


def say(line: str) -> None:
    """For the log of the step."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def pauses() -> Iterator[float]:
    """How long to wait after each attempt, while there is still patience for another."""
    end, pause = time.monotonic() + _PATIENCE_SECONDS, 0.2
    while time.monotonic() < end:
        yield pause
        pause = min(pause * 2, 5.0)


def request(task: dict[str, Any], method: str, path: str, body: Any | None = None, length: int = 0) -> Any:
    """An open answer, or None for 404. Ends the program with a line for people when it cannot be had."""
    with open(TOKEN_FILE) as file:
        headers = {"Authorization": "Bearer " + file.read().strip()}
    if body is not None:
        headers["Content-Length"] = str(length)
    for pause in pauses():
        if body is not None:
            body.seek(0)
        try:
            asked = urllib.request.Request(task["url"] + path, data=body, headers=headers, method=method)
            return urllib.request.urlopen(asked, timeout=120)
        except urllib.error.HTTPError as error:
            if error.code == 404:
                return None
            text = error.read(500).decode("utf-8", "replace").strip()
            if error.code < 500:
                sys.exit(f"{path}: {text}")
            problem: Exception = OSError(f"{error.code} {text or error.reason}")
        except OSError as error:
            problem = error
        time.sleep(pause)
    sys.exit(f"{path}: the platform does not take or give it: {problem}")


def fetch(task: dict[str, Any], path: str, folder: str) -> int:
    """Unpack an archive into a folder; returns how many files it had, -1 when there is none."""
    for attempt in range(_ATTEMPTS):
        try:
            return unpack(task, path, folder)
        except (EOFError, OSError, http.client.HTTPException, tarfile.TarError, zlib.error) as error:
            problem: Exception = error  # the platform went away in the middle; unpacking again writes the same
        time.sleep(0.2 * 2**attempt)
    sys.exit(f"{path} broke off: {problem}")


def unpack(task: dict[str, Any], path: str, folder: str) -> int:
    """As `fetch`, once. Raises what a connection or an archive that breaks off raises."""
    answer = request(task, "GET", path)
    if answer is None:
        return -1
    count, root = 0, os.path.realpath(folder)
    with answer, tarfile.open(fileobj=answer, mode="r|gz") as archive:
        if hasattr(tarfile, "fully_trusted_filter"):  # links may lead anywhere: nothing is written through them
            archive.extraction_filter = staticmethod(tarfile.fully_trusted_filter)
        for member in archive:
            if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
                continue
            # what a job packed is as hostile as the job: it is to reach nothing of this container
            path = os.path.join(root, member.name)
            if not inside(path, root) or (member.islnk() and not inside(os.path.join(root, member.linkname), root)):
                continue
            if os.path.islink(path):
                if member.isdir():
                    continue
                os.unlink(path)
            # the script may run as any user
            member.mode |= 0o777 if member.isdir() or member.mode & 0o111 else 0o666
            member.uid = member.gid = 0
            archive.extract(member, folder, set_attrs=not member.issym(), numeric_owner=True)
            count += 1
    return count


def source(task: dict[str, Any]) -> None:
    """The workspace as the script finds it."""
    os.umask(0)
    folder = task["folder"]
    if task.get("source", True):
        fetch(task, "source", task["workspace"])
    for name in (".", *task.get("folders", ())):
        os.makedirs(os.path.join(folder, name), exist_ok=True)
    if task.get("tools"):
        lend_python(os.path.join(folder, task["tools"]))
    for name in task["inputs"]:
        if fetch(task, "artifacts/" + name, folder) < 0:
            say(f"no artifacts of {name}")
    for cache in task["caches"]:
        for path in cache["paths"] if task.get("folders", ()) else ():
            os.makedirs(os.path.join(folder, path), exist_ok=True)
        if cache["pull"] and fetch(task, "caches/" + cache["name"], folder) >= 0:
            say(f"cache {cache['label']} is here")


def lend_python(folder: str) -> None:
    """This Python with the modules that it has loaded by now, for a container whose image may have none.

    Started by its own loader (`ld.so --library-path lib bin/python3`) it needs nothing of what is around it.
    """
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    home = os.path.dirname(os.path.realpath(os.__file__))
    modules = os.path.join(folder, "lib", version)
    for path in (os.path.join(modules, "lib-dynload"), os.path.join(folder, "bin")):
        os.makedirs(path, exist_ok=True)
    program = os.path.realpath(sys.executable)
    shutil.copy(program, os.path.join(folder, "bin", "python3"))
    for module in list(sys.modules.values()):
        file = getattr(module, "__file__", None)
        if not file or module.__name__ == "__main__":
            continue
        if file.endswith(".so"):
            shutil.copy(file, os.path.join(modules, "lib-dynload"))
        elif os.path.realpath(file).startswith(home + "/"):
            place = os.path.join(modules, os.path.relpath(os.path.realpath(file), home))
            os.makedirs(os.path.dirname(place), exist_ok=True)
            py_compile.compile(file, cfile=place + "c", doraise=True)
    with open("/proc/self/maps") as lines:
        mapped = {line.split()[-1] for line in lines if ".so" in line.split()[-1]}
    for path in sorted(mapped):
        lend_library(path, folder, home)


def lend_library(path: str, folder: str, home: str) -> None:
    """A shared library under all names that it has; the loader also as `ld.so`."""
    if path.startswith(home + "/") or not os.path.isfile(path):
        return
    around = os.path.dirname(path)
    names = {name for name in os.listdir(around) if os.path.realpath(os.path.join(around, name)) == path}
    for name in names | {os.path.basename(path)}:
        shutil.copy(path, os.path.join(folder, "lib", name))
    if os.path.basename(path).startswith("ld-"):
        shutil.copy(path, os.path.join(folder, "ld.so"))


def inside(path: str, folder: str) -> bool:
    """Whether a path stays in the folder when the links above it are followed."""
    real = os.path.realpath(os.path.dirname(path))
    return real == folder or real.startswith(folder + "/")


def pack(paths: list[str], exclude: list[str], folder: str, output: Any) -> int:
    """An archive of what the patterns name, links as links; returns how many files are in it."""
    count = 0
    left_out = [os.path.normpath(path) for path in exclude]

    def wanted(member: tarfile.TarInfo) -> tarfile.TarInfo | None:
        nonlocal count
        name = os.path.normpath(member.name)
        parts = name.split("/")
        if ".git" in parts or any(name == one or name.startswith(one + "/") for one in left_out):
            return None
        if not (member.isreg() or member.isdir() or member.issym() or member.islnk()):
            return None
        count += member.isreg()
        member.uid = member.gid = 0
        member.uname = member.gname = ""
        return member

    os.chdir(folder)
    with tarfile.open(fileobj=output, mode="w:gz", compresslevel=1) as archive:
        for pattern in paths:
            found = ["."] if pattern in (".", "**") else sorted(glob.glob(pattern, recursive=True))
            if not found:
                say(f"nothing matches {pattern}")
            for path in found:
                if inside(os.path.join(folder, path), folder):
                    archive.add(path, filter=wanted)
    return count


def send(task: dict[str, Any], path: str, what: str, paths: list[str], exclude: list[str]) -> None:
    """Pack and bring it to the platform; `what` is what people call it."""
    with tempfile.TemporaryFile(dir=task["scratch"]) as file:
        count = pack(paths, exclude, os.path.realpath(task["folder"]), file)
        if count:
            size = file.tell()
            request(task, "PUT", path, file, size)
            say(f"{what} kept: {count} files, {size} bytes")


def upload(task: dict[str, Any]) -> None:
    """What is to stay of the workspace, and what became of the cluster."""
    if os.path.exists(CHANGES):
        with open(CHANGES, "rb") as file:
            request(task, "PUT", "changes/" + task["step"], file, os.path.getsize(CHANGES))
    kept = [path for cache in task["caches"] for path in cache["paths"]]
    if task["artifacts"]:
        exclude = [*task["exclude"], *(["node_modules", *kept] if "**" in task["artifacts"] else [])]
        send(task, "artifacts/" + task["step"], "artifacts", task["artifacts"], exclude)
    for cache in task["caches"]:
        if cache["push"]:
            send(task, "caches/" + cache["name"], "cache " + cache["label"], cache["paths"], [])


if __name__ == "__main__":
    {"source": source, "upload": upload}[sys.argv[1]](json.loads(os.environ["FAIRWAY_TASK"]))
