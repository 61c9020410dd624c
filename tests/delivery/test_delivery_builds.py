"""Static sites as images: the same files give the same digest, in the node's store or in a registry."""

import os
import ssl
from pathlib import Path

import oci_registry
import pytest
from small_disk import small_disk

from fairway.delivery.builds.images import Images, NoBase, user_of
from fairway.delivery.builds.site import server_settings
from fairway.delivery.builds.target import BuildError, Target, own_repository
from fairway.toolkit.http_client import Streams
from fairway.toolkit.oci.authentication import Login
from fairway.toolkit.oci.distribution import RegistryClient
from fairway.toolkit.oci.draft import Draft
from fairway.toolkit.oci.layers import Entry
from fairway.toolkit.oci.reference import Reference, parse
from fairway.toolkit.oci.store import Image, ImageConfig, ImageStore

SITE = "registry.example.com/team/site"
COMMIT = "a" * 40


def images(folder: Path, *, with_base: bool = True) -> Images:
    store = ImageStore(folder)
    if with_base:
        draft = Draft(store, None)
        draft.add([Entry("usr/share/nginx/html/index.html", data=b"welcome", mode=0o644)], "base")
        draft.commit(parse("nginx:latest"))
    return Images(folder, is_node_store=True)


@pytest.fixture
def site(tmp_path: Path) -> Path:
    folder = tmp_path / "site"
    (folder / "assets").mkdir(parents=True)
    (folder / "index.html").write_text("<h1>hello</h1>")
    (folder / "assets" / "a.js").write_text("1")
    (folder / ".git").mkdir()
    (folder / ".git" / "config").write_text("secret")
    (folder / "node_modules" / "x").mkdir(parents=True)
    (folder / "node_modules" / "x" / "x.js").write_text("x")
    return folder


def silent(line: str) -> None:
    pass


async def test_the_same_files_give_the_same_digest(tmp_path: Path, site: Path) -> None:
    first = await images(tmp_path / "a").static_image("nginx:latest", site, Target(SITE, COMMIT), silent)
    os.utime(site / "index.html", (1, 1))
    (site / "index.html").chmod(0o600)
    second = await images(tmp_path / "b").static_image("nginx:latest", site, Target(SITE, "b" * 40), silent)
    assert first == second and first.port == 8080 and first.image.startswith(f"{SITE}@sha256:")


async def test_an_image_is_found_by_tag_and_by_digest(tmp_path: Path, site: Path) -> None:
    built = await images(tmp_path / "a").static_image("nginx:latest", site, Target(SITE, COMMIT), silent)
    store = ImageStore(tmp_path / "a")
    by_digest, by_tag = (
        store.find(parse(built.image)),
        store.find(Reference("registry.example.com", "team/site", COMMIT)),
    )
    assert by_digest is not None and by_tag is not None and by_digest.digest == by_tag.digest
    html = Path(store.load(by_digest).layers[0]) / "usr/share/nginx/html"
    assert (html / "index.html").read_text() == "<h1>hello</h1>"
    assert sorted(entry.name for entry in html.iterdir()) == ["assets", "index.html"]


async def test_a_missing_base_says_how_to_make_it(tmp_path: Path, site: Path) -> None:
    with pytest.raises(BuildError, match="fairway image build --base nginx"):
        await images(tmp_path / "a", with_base=False).static_image("nginx:latest", site, Target(SITE, "x"), silent)


@pytest.mark.parametrize(
    ("prepare", "said"),
    [
        (lambda folder: (folder / "index.html").unlink(), "there is no index.html"),
        (lambda folder: (folder / "link").symlink_to("/etc/passwd"), "outside the build folder"),
        (lambda folder: os.mkfifo(folder / "pipe"), "neither a file nor a folder"),
    ],
)
async def test_a_folder_that_is_no_site_is_refused(tmp_path: Path, site: Path, prepare, said: str) -> None:  # type: ignore[no-untyped-def]
    prepare(site)
    with pytest.raises(BuildError, match=said) as refused:
        await images(tmp_path / "a").static_image("nginx:latest", site, Target(SITE, COMMIT), silent)
    assert str(tmp_path) not in str(refused.value)


async def test_a_repository_without_registry_is_refused(tmp_path: Path, site: Path) -> None:
    with pytest.raises(BuildError, match=r"registry\.example\.com/team/site"):
        await images(tmp_path / "a").static_image("nginx:latest", site, Target("team/site", COMMIT), silent)


@pytest.mark.parametrize("big", [False, True], ids=["in one piece", "in pieces"])
async def test_an_image_is_pushed_with_a_login(tmp_path: Path, site: Path, big: bool) -> None:
    if big:
        (site / "noise").write_bytes(os.urandom(20 << 20))
    login = Login(oci_registry.USER, oci_registry.PASSWORD)
    async with oci_registry.registry(tmp_path, htpasswd=True) as registry:
        target = Target(f"{registry.host}/team/site", COMMIT, push=True, login=login)
        for _ in range(2):  # what is there already is not sent again
            built = await images(tmp_path / "a").static_image("nginx:latest", site, target, silent)
        async with RegistryClient(registry.host, login=login) as client:
            assert await client.digest("team/site", COMMIT) == built.image.partition("@")[2]
        elsewhere = Images(tmp_path / "b", is_node_store=False)
        assert not await elsewhere.is_gone(built.image, login)
        missing = f"{registry.host}/team/site@sha256:{'0' * 64}"
        assert await elsewhere.is_gone(missing, login)
        assert not await elsewhere.is_gone(missing, Login("ann", "wrong")), "who may not ask knows nothing"
        with pytest.raises(BuildError, match=r"push refused|authorization failed"):
            wrong = Target(target.repository, COMMIT, push=True, login=Login("ann", "wrong"))
            await images(tmp_path / "a").static_image("nginx:latest", site, wrong, silent)


@pytest.mark.real
async def test_a_full_image_store_is_named_and_heals(tmp_path: Path, site: Path) -> None:
    with small_disk(tmp_path / "small", "4m") as disk:
        here, target = images(disk / "store"), Target(SITE, COMMIT)
        (site / "noise").write_bytes(os.urandom(6 << 20))
        with pytest.raises(BuildError, match=r"^the disk on which the platform keeps images is full; somebody must"):
            await here.static_image("nginx:latest", site, target, silent)
        assert not list((disk / "store" / "ingest").iterdir()), "nothing of it stays"
        (site / "noise").unlink()
        built = await here.static_image("nginx:latest", site, target, silent)
        assert not await here.is_gone(built.image)


async def test_what_is_on_the_node_is_not_gone_and_what_cannot_be_asked_may_be_there(
    tmp_path: Path, site: Path
) -> None:
    here = images(tmp_path / "a")
    built = await here.static_image("nginx:latest", site, Target("127.0.0.1:9/team/site", COMMIT), silent)
    assert not await here.is_gone(built.image)
    ImageStore(tmp_path / "a").remove(parse(f"127.0.0.1:9/team/site:{COMMIT}"))
    assert not await here.is_gone(built.image), "nobody answers there"


async def test_a_base_that_cannot_be_pulled_is_named(tmp_path: Path, site: Path) -> None:
    """On a cluster of somebody else bases come from registries, and nowhere else."""

    async def nowhere(host: str, port: int, context: ssl.SSLContext | None) -> Streams:
        raise OSError(113, "No route to host")

    abroad = Images(tmp_path / "a", is_node_store=False, dialer=nowhere)
    with pytest.raises(NoBase, match=r"library/nginx:latest is not here and cannot be pulled: "):
        await abroad.static_image("nginx:latest", site, Target(SITE, COMMIT), silent)
    assert abroad.missing(["nginx:latest"]) == ()


def test_who_an_image_runs_as_counts_when_it_is_a_number() -> None:
    def user(text: str) -> str:
        return user_of(Image("a", "", "", "", (), ImageConfig(user=text), 0, "", ""))

    assert [user(text) for text in ("", "0", "root", "node", "1000:staff", "0:5")] == [""] * 6
    assert (user("1000"), user("1000:0"), user("007:8")) == ("1000", "1000:0", "7:8")


def test_unknown_paths_get_the_application_or_the_sites_own_page() -> None:
    assert "try_files  $uri $uri/ /index.html;" in server_settings(False, (8080,))
    assert "error_page  404 /404.html;" in (own := server_settings(True, (8080, 80))) and "=404" in own


def test_the_platforms_own_repository_is_named_by_namespace_and_app() -> None:
    assert own_repository("registry.fairway.local", "team-a", "shop") == "registry.fairway.local/team-a/shop"
