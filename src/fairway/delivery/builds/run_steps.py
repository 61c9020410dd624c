"""Runs the commands of a Dockerfile in a container of the image so far, and packs what they changed.

The text of this file is the program: the platform brings it and a Python of its own into the pod, so that the image
needs neither. It imports nothing of the project. It begins as root, because only root can read every file afterwards;
each command runs as the image's user, without any capability unless that is root. The container has nothing of the
platform but this: no token, no variables.
"""

import json
import os
import re
import signal
import stat
import sys
import tarfile
import time
from typing import Any

PLACE = "/.fairway"
_SHOWN = 160
_COARSE_CLOCK = 5  # CLOCK_REALTIME_COARSE: what the kernel stamps changed files with
_KEPT = re.compile(r"security\.capability\Z|user\.(?!overlay\.)")
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def say(line: str) -> None:
    """For the log of the step."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def accounts(path: str) -> "list[list[str]]":
    """The lines of /etc/passwd or /etc/group of the image."""
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return [line.rstrip("\n").split(":") for line in file]
    except OSError:
        return []


def who(text: str) -> "tuple[int, int, list[int], str]":
    """User, group, further groups and home of what USER says. Ends the program when there is no such user."""
    name, _, group = text.partition(":")
    name = name or "0"
    users, groups = accounts("/etc/passwd"), accounts("/etc/group")
    key = 2 if name.isdigit() else 0
    fields = next((one for one in users if len(one) > 5 and one[key] == name), None)
    if fields is None and not name.isdigit() and name != "root":
        sys.exit(f"USER {text}: the image has no {name!r} in /etc/passwd; make it in a RUN before, or use a number")
    uid = int(fields[2]) if fields else 0 if name == "root" else int(name)
    gid, home = (int(fields[3]), fields[5]) if fields else (0, "/")
    more = [int(one[2]) for one in groups if fields and len(one) > 3 and fields[0] in one[3].split(",")]
    if group:
        key = 2 if group.isdigit() else 0
        found = next((one for one in groups if len(one) > 2 and one[key] == group), None)
        if found is None and not group.isdigit():
            sys.exit(f"USER {text}: the image has no group {group!r} in /etc/group; make it before, or use a number")
        gid, more = int(found[2]) if found else int(group), []
    return uid, gid, more, home or "/"


def environment(task: "dict[str, Any]", home: str) -> "dict[str, str]":
    """The image's variables and the arguments, nothing of the pod but secrets that were asked for by name."""
    found = {"PATH": _PATH, "HOME": home, **task["environment"]}
    return {**found, **{name: os.environ[name] for name in task["secrets"] if name in os.environ}}


def run(task: "dict[str, Any]", command: "dict[str, Any]") -> int:
    """One RUN; its exit code as a shell tells it."""
    uid, gid, more, home = who(task["user"])
    env = environment(task, home)
    for path in task["caches"]:
        own(path, uid, gid)
    child = os.fork()
    if child == 0:
        try:
            become(task["user"], uid, gid, more)
            os.chdir(task["working_dir"])
            os.dup2(os.open("/dev/null", os.O_RDONLY), 0)
            for number in (signal.SIGPIPE, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            os.execvpe(command["argv"][0], command["argv"], env)
        except OSError as error:
            shown = error.filename or command["argv"][0]
            os.write(2, f"{shown}: {error.strerror}\n".encode())
        finally:
            os._exit(127)
    code = 1
    while True:
        ended, status = os.wait()
        if ended == child:
            code = os.waitstatus_to_exitcode(status)
            break
    return 128 - code if code < 0 else code


def own(path: str, uid: int, gid: int) -> None:
    """A cache belongs to who runs."""
    for folder, _, names in os.walk(path):
        for entry in [folder, *(os.path.join(folder, name) for name in names)]:
            try:
                if os.lstat(entry).st_uid != uid:
                    os.lchown(entry, uid, gid)
            except OSError:
                continue


def become(text: str, uid: int, gid: int, more: "list[int]") -> None:
    """For good: what is no more root has no capability left."""
    os.setsid()
    if not (uid or gid):
        return
    try:
        os.setgroups(more)
        os.setgid(gid)
        os.setuid(uid)
    except OSError as error:
        raise OSError(error.errno, f"this node knows no such user ({error.strerror})", f"USER {text}") from error


def end_the_rest() -> None:
    """What commands left running in the background would still change files."""
    if os.getpid() != 1:
        return  # then others are in this process namespace, which are not ours to end
    try:
        os.kill(-1, signal.SIGKILL)
    except ProcessLookupError:
        pass
    while True:
        try:
            os.wait()
        except ChildProcessError:
            return


def mounts() -> "set[str]":
    """Where something else than the image's own files is."""
    with open("/proc/self/mountinfo") as file:
        points = {line.split(" ")[4] for line in file}
    unescaped = {re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), point) for point in points}
    return {point for point in unescaped if point != "/"} | {PLACE}


def clock() -> "tuple[int, int]":
    return time.clock_gettime_ns(_COARSE_CLOCK), time.clock_gettime_ns(time.CLOCK_BOOTTIME)


def pack(begin: "tuple[int, int]", folder: str) -> None:
    """All paths, and everything whose entry was changed since the beginning."""
    now = clock()
    # had the clock been put back meanwhile, changed files could look old
    since = begin[0] - max(0, (now[1] - begin[1]) - (now[0] - begin[0])) - 20_000_000
    covered = mounts()
    links: dict[tuple[int, int], str] = {}
    with open(folder + "/mounts", "wb") as file:
        file.write(b"".join(os.fsencode(point) + b"\0" for point in sorted(covered)))
    with (
        open(folder + "/paths", "wb") as paths,
        tarfile.open(
            folder + "/files.tar", "w", format=tarfile.PAX_FORMAT, encoding="utf-8", errors="surrogateescape"
        ) as tar,
    ):
        todo = ["/"]
        while todo:
            top = todo.pop()
            for entry in sorted(os.scandir(top), key=lambda one: one.name):
                if entry.path in covered:
                    continue
                info = entry.stat(follow_symlinks=False)
                paths.write(os.fsencode(entry.path[1:]) + b"\0")
                if stat.S_ISDIR(info.st_mode):
                    todo.append(entry.path)
                if info.st_ctime_ns >= since:
                    add(tar, entry.path, info, links)


def add(tar: tarfile.TarFile, path: str, info: os.stat_result, links: "dict[tuple[int, int], str]") -> None:
    """One entry, with what layers keep of it."""
    member = tarfile.TarInfo(path[1:])
    member.mode, member.uid, member.gid = stat.S_IMODE(info.st_mode), info.st_uid, info.st_gid
    member.mtime = int(info.st_mtime)
    if stat.S_ISLNK(info.st_mode):
        member.type, member.linkname = tarfile.SYMTYPE, os.readlink(path)
        tar.addfile(member)
        return
    if not (stat.S_ISREG(info.st_mode) or stat.S_ISDIR(info.st_mode)):
        return
    key = (info.st_dev, info.st_ino)
    if stat.S_ISREG(info.st_mode) and info.st_nlink > 1 and key in links:
        member.type, member.linkname = tarfile.LNKTYPE, links[key]
        tar.addfile(member)
        return
    attributes: dict[str, str] = {}
    for name in attributes_of(path):
        if _KEPT.match(name):
            value = os.getxattr(path, name, follow_symlinks=False)
            attributes["SCHILY.xattr." + name] = value.decode("utf-8", "surrogateescape")
    member.pax_headers = attributes
    if stat.S_ISDIR(info.st_mode):
        member.type = tarfile.DIRTYPE
        tar.addfile(member)
        return
    links[key] = path[1:]
    with open(path, "rb") as file:
        member.size = os.fstat(file.fileno()).st_size
        tar.addfile(member, file)


def attributes_of(path: str) -> "list[str]":
    """The names of extended attributes; some file systems have none."""
    try:
        return os.listxattr(path, follow_symlinks=False)
    except OSError:
        return []


def main() -> int:
    """Run all commands of the task, one after the other, until one fails."""
    with open(PLACE + "/task/task.json", encoding="utf-8") as file:
        task = json.load(file)
    os.umask(0o022)
    begin = clock()
    for command in task["commands"]:
        say(f"{task['file']} line {command['line']}: {command['shown'][:_SHOWN]}")
        code = run(task, command)
        if code:
            say(f"{task['file']} line {command['line']}: {command['shown'][:_SHOWN]} ended with exit code {code}")
            return code
    end_the_rest()
    try:
        pack(begin, PLACE + "/out")
    except OSError as error:
        say(f"what the commands changed cannot be packed: {error.filename or ''}: {error.strerror}")
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
