"""Dockerfiles as people write them, through real pods: stages, users, mounts, kept layers, and hostile ones."""

import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import cluster
import pytest
import shared
from app_site import Person, delivering

from fairway.toolkit.oci.store import ImageStore

pytestmark = [pytest.mark.real, pytest.mark.timeout(300)]
TOKEN = "correct-horse-battery"

STAGES = """# syntax=docker/dockerfile:1
ARG BASE=python:3
FROM $BASE AS build
ARG WHO=world
ENV COLOUR="dark blue"
WORKDIR /src
COPY --chmod=640 packages.txt .
RUN echo "app:x:1234:1235::/home/app:/bin/sh" >> /etc/passwd && echo "extra:x:77:app" >> /etc/group
RUN <<EOF
#!/usr/bin/python3
import os, struct
os.makedirs("/keep/dir", exist_ok=True)
for name in ("gone", "program", "dir/old"):
    open(f"/keep/{name}", "w").write(name)
os.link("/keep/program", "/keep/same")
os.chmod("/keep/program", 0o4755)
os.chown("/keep/dir", 5, 6)
os.symlink("/keep/program", "/absolute")
# cap_net_bind_service as setcap(8) writes it, version 2
os.setxattr("/keep/same", "security.capability", struct.pack("<IIIII", 0x02000001, 1 << 10, 0, 0, 0))
EOF
FROM build AS unused
RUN exit 9
FROM build AS app
RUN rm -r /keep/gone /keep/dir && mkdir /keep/dir && touch /keep/dir/new
USER app
WORKDIR /home/app/work
SHELL ["/bin/sh", "-euc"]
RUN id -u > who; id -G >> who; echo "$HOME $COLOUR ${WHO-none}" >> who
RUN case $- in *u*) grep CapEff /proc/self/status >> who; esac
RUN ["touch", "exec form"]
RUN ! cat /etc/shadow && ! touch /src/no
USER 4321:99
COPY text.txt .
RUN echo "$(id -u) $(id -g) $HOME" >> /tmp/number
FROM app AS last
USER root
RUN <<EOF
{ stat -c '%a %h %u' /keep/program /keep/same; stat -c '%u %g' /keep/dir /home/app/work; ls /keep /keep/dir; } > /files
python3 -c "import os; print(len(os.getxattr('/keep/program', 'security.capability')))" >> /files
EOF
FROM nginx:latest
COPY --from=app /home/app/work/who /tmp/number /usr/share/nginx/html/
COPY --from=last /files /usr/share/nginx/html/files
COPY --from=build /absolute /usr/share/nginx/html/absolute
COPY --from=2 /home/app/work/text.txt /usr/share/nginx/html/index.html
EXPOSE 80
"""

MOUNTS = """FROM python:3 AS made
ARG GREETING
WORKDIR /srv
RUN --mount=type=cache,target=/var/cache/tool,id=tool --mount=type=bind,target=/src \\
    --mount=type=tmpfs,target=/t,size=8m --mount=type=secret,id=token --mount=type=secret,id=token,env=TOKEN <<EOF
echo run >> /var/cache/tool/runs
echo "runs $(wc -l < /var/cache/tool/runs) token $(cat /run/secrets/token) $TOKEN"
{ echo "$GREETING $(cat /src/text.txt)"; touch /src/no 2>&1 || echo read-only; df /t | grep -c /t; } > page
EOF
RUN --network=none python3 -c "import socket; print(socket.create_connection(('10.96.0.10', 53), 3))" && exit 1; \\
    (sleep 98123 &) ; ls /var/cache /run /srv; env; ls /.fairway/* /var/run/secrets 2>&1 || true
RUN python3 -c "import socket; socket.create_connection(('10.96.0.10', 53), 30); print('reached the resolver')"
RUN --mount=type=bind,from=nginx,source=/usr/share/nginx/html,target=/html test -f /html/index.html
FROM nginx:latest
COPY --from=made /srv/page /usr/share/nginx/html/index.html
EXPOSE 80
"""


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("dockerfiles")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "nginx", "python")
    made.start()
    yield Person(delivering(made), folder)
    made.stop()


def app(person: Person, name: str, build: str = "{}") -> Path:
    """A repository whose remote is an App of this name."""
    person.cluster.apply(
        f"apiVersion: fairway.dev/v1alpha1\nkind: App\nmetadata: {{name: {name}, namespace: default}}\n"
        f"spec: {{domains: [{name}.example.com], build: {build}}}\n"
    )
    person.cluster.kubectl("wait", f"app/{name}", "--for=jsonpath={.status.gitUrl}", "--timeout=60s")
    folder = person.repository(name)
    person.fairway("app", "remote", name, folder=folder)
    return folder


def test_stages_and_users_and_what_files_are(person: Person) -> None:
    folder = app(person, "stages")
    files = {"Dockerfile": STAGES, "packages.txt": "one", "text.txt": "first"}
    person.commit(folder, **files)
    said = person.push(folder)
    assert "is live" in said and "image-unused" not in said and "cached" not in said, said
    host = "stages.example.com"
    person.shows(host, "first")
    assert person.says(host, "/who").splitlines() == [
        *("1234", "1235 77", "/home/app dark blue none"),
        "CapEff:\t0000000000000000",
    ]
    assert person.says(host, "/number") == "4321 99 /\n"
    assert person.says(host, "/absolute") == "program"
    modes, owners, listed = (
        "4755 2 0\n4755 2 0\n",
        "0 0\n1234 1235\n",
        "/keep:\ndir\nprogram\nsame\n\n/keep/dir:\nnew\n",
    )
    assert person.says(host, "/files") == f"{modes}{owners}{listed}20\n"
    person.commit(folder, **{"text.txt": "second"})
    said = person.push(folder)
    person.shows(host, "second")
    assert said.count("cached: RUN") == 7, said
    assert said.count("ended with exit code") == 0 and 'RUN echo "$(id -u)' in said


def test_mounts_leave_nothing_behind(person: Person) -> None:
    person.cluster.kubectl("create", "secret", "generic", "vault", f"--from-literal=token={TOKEN}")
    token = "{name: token, valueFrom: {secretKeyRef: {name: vault, key: token}}}"
    folder = app(person, "mounts", f"{{variables: [{token}, {{name: GREETING, value: hello}}]}}")
    person.commit(folder, **{"Dockerfile": MOUNTS, "text.txt": "one"})
    said = person.push(folder)
    assert "runs 1 token [masked] [masked]" in said and "reached the resolver" in said and TOKEN not in said, said
    assert "GREETING=hello" in said and "KUBERNETES" not in said and "TOKEN=" not in said
    rest = "touch: /src/no: Read-only file system\nread-only\n1\n"
    person.shows("mounts.example.com", f"hello one\n{rest}")
    person.commit(folder, **{"text.txt": "two"})
    said = person.push(folder)
    assert "runs 2 token" in said, said
    person.shows("mounts.example.com", f"hello two\n{rest}")
    store = ImageStore(person.cluster.state_dir / "images")
    for digest in store.blobs.digests():
        with store.blobs.open(digest) as blob:
            if blob.read(2) != b"\x1f\x8b":
                continue
            blob.seek(0)
            with tarfile.open(fileobj=blob, mode="r:gz") as tar:
                names = tar.getnames()
        assert not {name for name in names if name.startswith((".fairway", "run/secrets", "var/cache/tool"))}
    logs = (person.cluster.state_dir / "delivery" / "logs").rglob("*.log")
    assert not [path for path in logs if TOKEN.encode() in path.read_bytes()]


def test_a_target_and_an_ignore_file_of_its_own(person: Person) -> None:
    folder = app(person, "target", "{dockerfile: docker/web.Dockerfile, target: web}")
    text = 'FROM nginx:alpine AS web\nCOPY . /usr/share/nginx/html/\nEXPOSE 80\nCMD ["nginx", "-g", "daemon off;"]\n'
    text += "FROM web AS test\nRUN exit 3\n"
    ignored = "docker/*\n**/*.secret\n!docker/index.html\n"
    files = {"web.Dockerfile": text, "web.Dockerfile.dockerignore": ignored, "index.html": "mine", "a.secret": "no"}
    person.commit(folder, **{f"docker/{name}": data for name, data in files.items()})
    said = person.push(folder)
    assert "exit 3" not in said, said
    person.shows("target.example.com", "mine")
    assert person.page("target.example.com", "/a.secret") != "no"


HOSTILE = {
    "FROM nginx\nCOPY ../../../etc/passwd /\n": "line 2: '../../../etc/passwd' is outside the build folder",
    "FROM nginx\nRUN --mount=type=bind,source=../../x,target=/x cat /x\n": "'../../x' is outside the build folder",
    "FROM registry.fairway.local/other/secret:1\nRUN true\n": "belongs to other; an App of default builds from its own",
    "FROM nginx\nCOPY --from=registry.fairway.local/other/secret:1 / /\n": "belongs to other",
    "FROM nginx\nUSER nobody-here\nRUN true\n": "USER nobody-here: the image has no 'nobody-here' in /etc/passwd",
    "FROM scratch\nRUN true\n": "line 2: RUN: there is nothing in the image that could run",
}


def test_hostile_dockerfiles_are_told_what_is_wrong(person: Person) -> None:
    folder = app(person, "hostile")
    for text, wanted in HOSTILE.items():
        person.commit(folder, Dockerfile=text)
        said = person.push(folder, check=False)
        assert wanted in said and "Failed" in said, f"{text}\n{said}"
        assert str(person.cluster.state_dir) not in said


def test_commands_that_never_end_are_ended(person: Person) -> None:
    folder = app(person, "endless")
    person.commit(folder, Dockerfile="FROM nginx\nRUN (sleep 98124 &); (setsid sleep 98124 &); sleep 98124\n")
    with person.pushing(folder) as push:
        wait(lambda: len(processes("98124")) == 3)
        cancelled = '{"spec": {"cancelled": true}}'
        person.cluster.kubectl("patch", "pipelinerun", "endless-1", "--type=merge", "-p", cancelled)
        said = push.ended(120)
    assert "Cancelled" in said and not processes("98124"), said
    assert not processes("98123"), "nor is what an earlier command left in the background"


def wait(come: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 120
    while not come():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def processes(mark: str) -> list[str]:
    """Processes of this machine with a word in their command line."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            command = (folder / "cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in command.split(b"\0") and b"sleep" in command:
            found.append(folder.name)
    return found
