"""From a commit to a live domain on a real cluster: real git, real images, real pods, real TLS."""

import json
import os
import subprocess
import time
import zipfile
from collections.abc import Iterator

import cluster
import pytest
import shared
from app_site import Person, delivering

from fairway.toolkit.oci.reference import parse
from fairway.toolkit.oci.store import ImageStore

pytestmark = pytest.mark.real


@pytest.fixture(scope="module")
def person(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Person]:
    folder = tmp_path_factory.mktemp("delivery")
    made = cluster.new(folder / "state")
    shared.bases(made.state_dir, "nginx", "python")
    made.start()
    made.kubectl("get", "apps")  # once `up` says that it is ready, kubectl knows them
    yield Person(delivering(made), folder)
    made.stop()


def until(look, wanted, what: str):  # type: ignore[no-untyped-def]
    deadline = time.monotonic() + 60
    while not wanted(found := look()):
        assert time.monotonic() < deadline, f"never came: {what}; last seen: {found}"
        time.sleep(0.02)
    return found


def test_a_push_is_live_and_the_next_one_too_and_back_again(person: Person) -> None:
    site = person.repository("marketing-site")
    said = person.fairway(
        "app", "create", "marketing-site", "--domain", "https://Site.Corp.com/", "--remote", folder=site
    )
    assert "git push fairway main" in said
    person.commit(site, "first", **{"index.html": "<h1>one</h1>", "about/index.html": "about"})
    said = person.push(site)
    assert "remote: -----> " in said and "site.corp.com" in said, said
    person.is_live(said, "site.corp.com", "<h1>one</h1>")
    person.shows("site.corp.com", "about", "/about/")
    person.commit(site, "second", **{"index.html": "<h1>two</h1>"})
    person.is_live(person.push(site), "site.corp.com", "<h1>two</h1>")
    asked = ("git", "-c", "credential.interactive=never", "ls-remote", "fairway")
    elsewhere = {**os.environ, "GIT_SSL_CAINFO": "/etc/ssl/certs/ca-certificates.crt"}  # overrules what is configured
    done = subprocess.run(asked, cwd=site, env=elsewhere, capture_output=True, text=True, timeout=60, check=False)
    assert "refs/heads/main" in done.stdout, done.stderr
    person.is_live(person.fairway("rollback", "marketing-site"), "site.corp.com", "<h1>one</h1>")
    listed = person.fairway("releases", "marketing-site")
    assert "v3" in listed and "rollback of v1" in listed
    shown = until(
        lambda: person.fairway("app", "show", "marketing-site"), lambda text: "Live" in text, "what is known of the App"
    )
    assert "site.corp.com" in shown


def test_kubectl_apply_of_an_app_is_the_same(person: Person) -> None:
    person.cluster.apply(
        """
apiVersion: fairway.dev/v1alpha1
kind: App
metadata: {name: by-hand, namespace: default}
spec: {domains: [a.example.com, b.example.com, c.example.org], replicas: 2}
"""
    )
    site = person.repository("by-hand")
    app = until(
        lambda: json.loads(person.cluster.kubectl("get", "app", "by-hand", "-o", "json")).get("status", {}),
        lambda status: status.get("gitUrl"),
        "the App's git URL",
    )
    person.fairway("app", "remote", "by-hand", folder=site)
    assert app["gitUrl"] in person.git(site, "remote", "-v")
    person.commit(site, **{"index.html": "by hand"})
    person.push(site)
    for host in ("a.example.com", "b.example.com", "c.example.org"):
        person.shows(host, "by hand")
    pods = person.cluster.objects("pods", "-l", "fairway.dev/app=by-hand")
    assert len(pods) == 2


def test_deploy_sends_a_folder_that_is_no_repository(person: Person) -> None:
    folder = person.home / "plain"
    folder.mkdir()
    (folder / "index.html").write_text("plain")
    said = person.fairway("deploy", str(folder), "--domain", "plain.example.com")
    assert "plain.example.com" in said
    person.shows("plain.example.com", "plain")
    assert "nothing changed" in person.fairway("deploy", str(folder))
    (folder / "index.html").write_text("changed")
    person.fairway("deploy", str(folder))
    person.shows("plain.example.com", "changed")
    (folder / "index.html").unlink()
    with pytest.raises(AssertionError, match="there is nothing in the repository"):
        person.fairway("deploy", str(folder))
    with pytest.raises(AssertionError, match="App plain is there already, without"):
        person.fairway("deploy", str(folder), "--domain", "another.example.com")


def test_a_domain_that_is_taken_is_refused_and_the_first_owner_serves_on(person: Person) -> None:
    person.fairway("app", "create", "thief", "--domain", "a.example.com")
    shown = until(
        lambda: person.fairway("app", "show", "thief"), lambda text: '"a.example.com" is taken' in text, "the refusal"
    )
    assert "by-hand" in shown
    person.fairway("app", "delete", "thief", "--yes")
    person.shows("a.example.com", "by hand")


def test_variables_and_secrets_make_releases_and_never_show(person: Person) -> None:
    person.fairway("env", "marketing-site", "COLOUR=blue")
    person.fairway("env", "marketing-site", "--secret", "TOKEN", text="hunter2hunter2\n")
    pod = until(
        lambda: [
            one
            for one in person.cluster.objects("pods", "-l", "fairway.dev/app=marketing-site")
            if one["status"]["phase"] == "Running" and "deletionTimestamp" not in one["metadata"]
        ],
        lambda pods: (
            pods
            and "hunter2hunter2"
            in person.cluster.kubectl("exec", pods[0]["metadata"]["name"], "--", "env", check=False)
        ),
        "the secret in the pod's environment",
    )[0]
    environment = person.cluster.kubectl("exec", pod["metadata"]["name"], "--", "env")
    assert "COLOUR=blue" in environment
    assert "hunter2" not in person.cluster.kubectl("get", "releases,apps,events", "-A", "-o", "json")
    assert "hunter2" not in person.cluster.log()


_PROGRAM = """
import greeting, http.server, os
open("note", "w").write("mine")

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"{os.getuid()} {os.environ['HOME']} {open('note').read()} {greeting.TEXT}"
        self.send_response(200)
        self.end_headers()
        self.wfile.write(text.encode())

http.server.ThreadingHTTPServer(("", int(os.environ["PORT"])), Handler).serve_forever()
"""


_PACKAGE = {
    "greeting.py": "import runpy\nTEXT = 'hello'\ndef main():\n    runpy.run_path('main.py')\n",
    "greeting-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: greeting\nVersion: 1.0\n",
    "greeting-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "greeting-1.0.dist-info/entry_points.txt": "[console_scripts]\ngreet = greeting:main\n",
    "greeting-1.0.dist-info/RECORD": "",
}


def test_a_program_has_its_packages_and_is_no_root_and_writes_beside_itself(person: Person) -> None:
    """What pip installs in the build is there, to import and to start: the Procfile names a command of a package."""
    folder = person.home / "counter"
    (folder / "wheels").mkdir(parents=True)
    with zipfile.ZipFile(folder / "wheels/greeting-1.0-py3-none-any.whl", "w") as wheel:
        for path, text in _PACKAGE.items():
            wheel.writestr(path, text)
    (folder / "main.py").write_text(_PROGRAM)
    (folder / "requirements.txt").write_text("--no-index\n--find-links wheels\ngreeting==1.0\n")
    (folder / "Procfile").write_text("web: greet\n")
    said = person.fairway("deploy", str(folder), "--domain", "counter.example.com")
    assert "is live" in said and "Successfully installed greeting-1.0" in said, said
    person.shows("counter.example.com", "1000 /app mine hello")
    (pod,) = person.cluster.objects("pods", "-l", "fairway.dev/app=counter,fairway.dev/environment=production")
    security = pod["spec"]["containers"][0]["securityContext"]
    assert security["runAsNonRoot"] and security["capabilities"] == {"drop": ["ALL"]}


_BORROWER = """
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: other}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  imagePullSecrets: {secrets}
  containers: [{{name: app, image: "{image}", command: [cat, /usr/share/nginx/html/index.html]}}]
"""
_GRANT = """
apiVersion: rbac.authorization.k8s.io/v1
kind: Role
metadata: {name: lend, namespace: default}
rules: [{apiGroups: [fairway.dev], resources: [apps/image], resourceNames: [marketing-site], verbs: [get]}]
---
apiVersion: rbac.authorization.k8s.io/v1
kind: RoleBinding
metadata: {name: lend, namespace: default}
roleRef: {apiGroup: rbac.authorization.k8s.io, kind: Role, name: lend}
subjects: [{kind: Group, apiGroup: rbac.authorization.k8s.io, name: "system:serviceaccounts:other"}]
"""


def test_images_of_an_app_are_its_namespaces_own(person: Person) -> None:
    """They are on the node already, but nobody else's pod gets them by naming them."""
    image = person.cluster.kubectl("get", "release", "marketing-site-v1", "-o", "jsonpath={.spec.image}")
    person.cluster.kubectl("create", "namespace", "other")
    until(lambda: person.cluster.objects("serviceaccounts", "-n", "other"), bool, "the service account")

    def output(name: str, secrets: str = "[]") -> str:
        person.cluster.apply(_BORROWER.format(name=name, image=image, secrets=secrets))
        person.cluster.kubectl(
            "-n", "other", "wait", "--for=jsonpath={.status.phase}=Succeeded", f"pod/{name}", "--timeout=60s"
        )
        return person.cluster.kubectl("-n", "other", "logs", name).strip()

    person.cluster.apply(_BORROWER.format(name="thief", image=image, secrets="[]"))
    said = until(
        lambda: person.cluster.kubectl("-n", "other", "describe", "pod", "thief"),
        lambda text: "ErrImagePull" in text and "it belongs to namespace default" in text,
        "the refusal",
    )
    assert "apps/image.fairway.dev" in said and "fairway registry token" in said
    repository = image.partition("/")[2].partition("@")[0]
    secret = person.fairway("registry", "token", "lent", "--repository", repository, "--actions", "pull").strip()
    wrong = person.fairway("registry", "token", "wrong", "--repository", "other/*", "--actions", "pull").strip()
    for name, token in (("lent", secret), ("wrong", wrong)):
        server = f"--docker-server={image.partition('/')[0]}"
        words = (
            "create",
            "secret",
            "docker-registry",
            name,
            server,
            "--docker-username=x",
            f"--docker-password={token}",
        )
        person.cluster.kubectl("-n", "other", *words)
    assert output("with-a-token", "[{name: wrong}, {name: lent}]") == "<h1>one</h1>"
    person.cluster.apply(_BORROWER.format(name="with-a-wrong-one", image=image, secrets="[{name: wrong}]"))
    until(
        lambda: person.cluster.kubectl("-n", "other", "describe", "pod", "with-a-wrong-one"),
        lambda text: "pull access denied" in text,
        "the refusal of a token for something else",
    )
    person.cluster.apply(_GRANT)
    assert output("granted") == "<h1>one</h1>"
    person.cluster.kubectl("delete", "namespace", "other", "--wait=false")


def test_a_rollback_to_an_image_that_somebody_removed_is_refused(person: Person) -> None:
    image = person.cluster.kubectl("get", "release", "marketing-site-v2", "-o", "jsonpath={.spec.image}")
    repository, _, digest = image.partition("/")[2].partition("@")
    store = ImageStore(person.cluster.state_dir / "images")
    for name in store.names.all():
        if name.digest == digest:
            store.remove(parse(name.name))
    link = store.root / "links/registry" / repository / "_manifests" / digest.removeprefix("sha256:")
    link.unlink()  # as a DELETE with a token does
    app = "fairway.dev/app=marketing-site"
    before = person.cluster.objects("deployments", "-l", app)[0]["metadata"]
    said = person.fairway("rollback", "marketing-site", "v2", check=False)
    assert f"its image {image} is gone from the registry: choose another Release" in said, said
    person.shows("site.corp.com", "<h1>one</h1>")
    assert person.cluster.objects("deployments", "-l", app)[0]["metadata"]["generation"] == before["generation"]


def test_a_deleted_app_takes_everything_with_it(person: Person) -> None:
    person.fairway("app", "delete", "by-hand", "--yes")
    until(
        lambda: person.cluster.objects("deployments,services,ingresses,releases,pipelineruns,domains"),
        lambda found: (
            not [one for one in found if "by-hand" in one["metadata"]["name"] or "a.example.com" in json.dumps(one)]
        ),
        "the end of everything",
    )
    person.shows("a.example.com", "")
