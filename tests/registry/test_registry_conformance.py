"""The distribution spec, case by case: what its conformance suite asks, as tables."""

import asyncio
import json
from typing import Any

import pytest

from fairway.toolkit.content_store import sha256

BLOB = b"0123456789" * 100
DIGEST = sha256(BLOB)
NOWHERE = sha256(b"nowhere")
UPLOADS = "/v2/team/app/blobs/uploads/"


async def test_base(bench: Any) -> None:
    answer = await bench.ask("GET", "/v2/")
    assert (answer.status, answer.headers["docker-distribution-api-version"]) == (200, "registry/2.0")


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", f"/v2/team/app/blobs/{NOWHERE}", 404, "BLOB_UNKNOWN"),
        ("HEAD", f"/v2/team/app/blobs/{NOWHERE}", 404, ""),
        ("DELETE", f"/v2/team/app/blobs/{NOWHERE}", 404, "BLOB_UNKNOWN"),
        ("GET", "/v2/team/app/blobs/sha256:abc", 400, "DIGEST_INVALID"),
        ("GET", f"/v2/team/app/blobs/sha512:{'a' * 128}", 400, "DIGEST_INVALID"),
        ("GET", "/v2/team/app/manifests/missing", 404, "MANIFEST_UNKNOWN"),
        ("HEAD", "/v2/team/app/manifests/missing", 404, ""),
        ("GET", f"/v2/team/app/manifests/{NOWHERE}", 404, "MANIFEST_UNKNOWN"),
        ("DELETE", f"/v2/team/app/manifests/{NOWHERE}", 404, "MANIFEST_UNKNOWN"),
        ("DELETE", "/v2/team/app/manifests/missing", 404, "MANIFEST_UNKNOWN"),
        ("GET", "/v2/team/app/manifests/.bad", 400, "DIGEST_INVALID"),
        ("GET", "/v2/team/app/tags/list", 404, "NAME_UNKNOWN"),
        ("GET", f"/v2/team/app/referrers/{NOWHERE}", 200, ""),
        ("GET", "/v2/team/app/referrers/nonsense", 400, "DIGEST_INVALID"),
        ("GET", "/v2/UPPER/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/../../etc/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/%2e%2e/%2e%2e/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/_blobs/manifests/v1", 400, "NAME_INVALID"),
        ("GET", f"/v2/{'a' * 256}/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/a%00b/manifests/v1", 400, "NAME_INVALID"),
        ("GET", "/v2/team/app/manifests/%2e%2e%2f%2e%2e", 404, "UNSUPPORTED"),
        ("GET", UPLOADS + "unknown", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PATCH", UPLOADS + "unknown", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("DELETE", UPLOADS + "unknown", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("PUT", UPLOADS + f"unknown?digest={DIGEST}", 404, "BLOB_UPLOAD_UNKNOWN"),
        ("POST", "/v2/team/app/manifests/v1", 405, "UNSUPPORTED"),
        ("PUT", "/v2/team/app/tags/list", 405, "UNSUPPORTED"),
        ("GET", "/v2/nothing", 404, "UNSUPPORTED"),
        ("GET", "/", 404, "UNSUPPORTED"),
    ],
)
async def test_what_is_not_there(bench: Any, method: str, path: str, status: int, code: str) -> None:
    answer = await bench.ask(method, path, b"" if method in ("POST", "PUT", "PATCH") else None)
    assert answer.status == status, answer.body
    if code:
        assert answer.code == code


async def test_monolithic_push_by_post(bench: Any) -> None:
    answer = await bench.blob("team/app", BLOB)
    assert (answer.status, answer.headers["location"]) == (201, f"/v2/team/app/blobs/{DIGEST}")
    assert (await bench.ask("GET", answer.headers["location"])).body == BLOB


async def test_monolithic_push_by_post_and_put(bench: Any) -> None:
    begun = await bench.ask("POST", UPLOADS, b"")
    assert (begun.status, begun.headers["range"]) == (202, "0-0")
    done = await bench.ask("PUT", f"{begun.headers['location']}?digest={DIGEST}", BLOB)
    assert (done.status, done.headers["docker-content-digest"]) == (201, DIGEST)
    assert (await bench.ask("PUT", f"{begun.headers['location']}?digest={DIGEST}", BLOB)).status == 404


async def test_chunked_push(bench: Any) -> None:
    begun = await bench.ask("POST", UPLOADS, b"")
    place = begun.headers["location"]
    first = await bench.ask("PATCH", place, BLOB[:400], content_range="0-399")
    assert (first.status, first.headers["range"], first.headers["location"]) == (202, "0-399", place)
    status = await bench.ask("GET", place)
    assert (status.status, status.headers["range"]) == (204, "0-399")
    second = await bench.ask("PATCH", place, BLOB[400:900], content_range="400-899")
    assert second.headers["range"] == "0-899"
    done = await bench.ask("PUT", f"{place}?digest={DIGEST}", BLOB[900:], content_range="900-999")
    assert done.status == 201
    assert (await bench.ask("GET", f"/v2/team/app/blobs/{DIGEST}")).body == BLOB


@pytest.mark.parametrize(
    ("chunk", "content_range", "status", "code"),
    [
        (BLOB[400:], "500-999", 416, "BLOB_UPLOAD_INVALID"),
        (BLOB[400:], "0-599", 416, "BLOB_UPLOAD_INVALID"),
        (BLOB[400:], "400-100", 416, "BLOB_UPLOAD_INVALID"),
        (BLOB[400:], "nonsense", 416, "BLOB_UPLOAD_INVALID"),
        (BLOB[400:], "400-500", 400, "SIZE_INVALID"),
    ],
)
async def test_chunks_out_of_order(bench: Any, chunk: bytes, content_range: str, status: int, code: str) -> None:
    place = (await bench.ask("POST", UPLOADS, b"")).headers["location"]
    await bench.ask("PATCH", place, BLOB[:400], content_range="0-399")
    answer = await bench.ask("PATCH", place, chunk, content_range=content_range)
    assert (answer.status, answer.code) == (status, code)
    if status == 416:
        assert answer.headers["range"] == "0-399"
    assert (await bench.ask("PATCH", place, BLOB[400:], content_range="400-999")).status == 202


async def test_a_wrong_digest_leaves_nothing(bench: Any) -> None:
    answer = await bench.ask("POST", f"{UPLOADS}?digest={NOWHERE}", BLOB)
    assert (answer.status, answer.code) == (400, "DIGEST_INVALID")
    place = (await bench.ask("POST", UPLOADS, b"")).headers["location"]
    assert (await bench.ask("PUT", f"{place}?digest=sha256:short", BLOB)).code == "DIGEST_INVALID"
    place = (await bench.ask("POST", UPLOADS, b"")).headers["location"]
    assert (await bench.ask("PUT", place, BLOB)).code == "DIGEST_INVALID"
    assert (await bench.ask("GET", f"/v2/team/app/blobs/{DIGEST}")).status == 404
    assert not [*(bench.folder / "images" / "ingest").iterdir()]


async def test_cancel(bench: Any) -> None:
    place = (await bench.ask("POST", UPLOADS, b"")).headers["location"]
    assert (await bench.ask("DELETE", place)).status == 204
    assert (await bench.ask("GET", place)).status == 404
    assert (await bench.ask("GET", place.replace("team/app", "team/other"))).status == 404


async def test_an_upload_belongs_to_its_repository(bench: Any) -> None:
    place = (await bench.ask("POST", UPLOADS, b"")).headers["location"]
    assert (await bench.ask("PATCH", place.replace("team/app", "team/other"), BLOB)).status == 404


@pytest.mark.parametrize(
    ("query", "status"),
    [
        (f"mount={DIGEST}&from=team/app", 201),
        (f"mount={DIGEST}&from=team/other", 202),
        (f"mount={DIGEST}", 202),
        (f"mount={NOWHERE}&from=team/app", 202),
    ],
)
async def test_mount(bench: Any, query: str, status: int) -> None:
    await bench.blob("team/app", BLOB)
    answer = await bench.ask("POST", f"/v2/shop/blobs/uploads/?{query}", b"")
    assert answer.status == status
    found = await bench.ask("GET", f"/v2/shop/blobs/{DIGEST}")
    assert found.status == (200 if status == 201 else 404), "a blob of another repository is not to be read here"


@pytest.mark.parametrize(
    ("wanted", "status", "body"),
    [
        ("bytes=0-9", 206, BLOB[:10]),
        ("bytes=990-", 206, BLOB[990:]),
        ("bytes=-10", 206, BLOB[-10:]),
        ("bytes=-5000", 206, BLOB),
        ("bytes=500-99999", 206, BLOB[500:]),
        ("bytes=1000-", 416, None),
        ("bytes=-0", 416, None),
        ("bytes=500-0", 200, BLOB),
        ("bytes=0-1,5-6", 200, BLOB),
        ("lines=1-2", 200, BLOB),
    ],
)
async def test_ranges(bench: Any, wanted: str, status: int, body: bytes | None) -> None:
    await bench.blob("team/app", BLOB)
    answer = await bench.ask("GET", f"/v2/team/app/blobs/{DIGEST}", range=wanted)
    assert answer.status == status
    if body is not None:
        assert answer.body == body
        assert answer.headers["content-length"] == str(len(body))
    else:
        assert answer.headers["content-range"] == "bytes */1000"


async def test_head_tells_the_size_and_sends_nothing(bench: Any) -> None:
    await bench.blob("team/app", BLOB)
    answer = await bench.ask("HEAD", f"/v2/team/app/blobs/{DIGEST}")
    assert (answer.status, answer.headers["content-length"], answer.body) == (200, "1000", b"")
    assert answer.headers["docker-content-digest"] == DIGEST


async def test_manifests_by_tag_and_digest_byte_for_byte(bench: Any, make: Any) -> None:
    image = make.Image("one")
    digest = await bench.push("team/app", "v1", image)
    for target in ("v1", digest):
        answer = await bench.ask("GET", f"/v2/team/app/manifests/{target}")
        assert (answer.body, answer.headers["content-type"]) == (image.manifest, make.OCI)
        assert answer.headers["docker-content-digest"] == digest
        head = await bench.ask("HEAD", f"/v2/team/app/manifests/{target}")
        assert (head.status, head.headers["content-length"]) == (200, str(len(image.manifest)))
    assert (await bench.ask("GET", "/v2/team/app/manifests/v1", if_none_match=f'"{digest}"')).status == 304


async def test_manifests_that_are_refused(bench: Any, make: Any) -> None:
    image = make.Image("one")
    await bench.push("team/app", "v1", image)
    fields = json.loads(image.manifest)
    wrong_size = {**fields, "config": {**fields["config"], "size": 1}}
    no_size = {**fields, "config": {"mediaType": make.CONFIG, "digest": sha256(image.config)}}
    for data, media_type, code in (
        (b"not json", make.OCI, "MANIFEST_INVALID"),
        (b"[" * 100_000, make.OCI, "MANIFEST_INVALID"),
        (b"{}", make.OCI, "MANIFEST_INVALID"),
        (image.manifest, make.INDEX, "MANIFEST_INVALID"),
        (image.manifest, "text/plain", "MANIFEST_INVALID"),
        (json.dumps({**fields, "schemaVersion": 1}).encode(), make.OCI, "MANIFEST_INVALID"),
        (json.dumps(wrong_size).encode(), make.OCI, "MANIFEST_INVALID"),
        (json.dumps(no_size).encode(), make.OCI, "MANIFEST_INVALID"),
        (make.manifest(image.config, b"missing layer"), make.OCI, "MANIFEST_BLOB_UNKNOWN"),
        (make.index(b"missing manifest"), make.INDEX, "MANIFEST_BLOB_UNKNOWN"),
    ):
        answer = await bench.put("team/app", "bad", data, media_type)
        assert (answer.status, answer.code) == (400, code), data[:60]
    assert (await bench.ask("GET", "/v2/team/app/tags/list")).json["tags"] == ["v1"]
    assert (await bench.put("team/app", NOWHERE, image.manifest)).code == "DIGEST_INVALID"
    assert (await bench.put("team/app", "big", b" " * (5 << 20))).status == 413


async def test_a_manifest_of_another_repository_is_not_enough(bench: Any, make: Any) -> None:
    await bench.push("team/app", "v1", make.Image("one"))
    assert (await bench.put("team/other", "v1", make.Image("one").manifest)).code == "MANIFEST_BLOB_UNKNOWN"


async def test_indexes_and_tags_beside_a_digest(bench: Any, make: Any) -> None:
    image = make.Image("one")
    await bench.push("team/app", "v1", image)
    data = make.index(image.manifest)
    answer = await bench.ask("PUT", f"/v2/team/app/manifests/{sha256(data)}?tag=a&tag=b", data, content_type=make.INDEX)
    assert (answer.status, answer.headers["oci-tag"]) == (201, "a, b")
    assert (await bench.ask("GET", "/v2/team/app/manifests/b")).body == data
    assert (await bench.ask("PUT", "/v2/team/app/manifests/x?tag=..", data, content_type=make.INDEX)).status == 400


@pytest.mark.parametrize(
    ("query", "tags", "following"),
    [
        ("", ["a", "b", "c", "v1", "v10", "v2"], ""),
        ("?n=0", [], ""),
        ("?n=2", ["a", "b"], "?n=2&last=b"),
        ("?n=2&last=b", ["c", "v1"], "?n=2&last=v1"),
        ("?n=2&last=v1", ["v10", "v2"], ""),
        ("?last=c", ["v1", "v10", "v2"], ""),
        ("?last=bb&n=1", ["c"], "?n=1&last=c"),
        ("?n=99999999999", ["a", "b", "c", "v1", "v10", "v2"], ""),
    ],
)
async def test_tags(bench: Any, make: Any, query: str, tags: list[str], following: str) -> None:
    image = make.Image("one")
    await bench.push("team/app", "v1", image)
    for tag in ("v2", "v10", "c", "a", "b"):
        await bench.put("team/app", tag, image.manifest)
    answer = await bench.ask("GET", f"/v2/team/app/tags/list{query}")
    assert answer.json == {"name": "team/app", "tags": tags}
    link = f'</v2/team/app/tags/list{following}>; rel="next"' if following else None
    assert answer.headers.get("link") == link


async def test_tags_with_a_bad_count(bench: Any, make: Any) -> None:
    await bench.push("team/app", "v1", make.Image("one"))
    assert (await bench.ask("GET", "/v2/team/app/tags/list?n=-1")).status == 400


async def test_deleting_a_tag_keeps_the_manifest_and_deleting_that_takes_its_tags(bench: Any, make: Any) -> None:
    digest = await bench.push("team/app", "v1", make.Image("one"))
    await bench.put("team/app", "v2", make.Image("one").manifest)
    assert (await bench.ask("DELETE", "/v2/team/app/manifests/v1")).status == 202
    assert (await bench.ask("GET", "/v2/team/app/manifests/v1")).status == 404
    assert (await bench.ask("GET", f"/v2/team/app/manifests/{digest}")).status == 200
    layer = sha256(make.Image("one").layer)
    assert (await bench.ask("DELETE", f"/v2/team/app/blobs/{layer}")).status == 409, "a manifest needs it"
    assert (await bench.ask("DELETE", f"/v2/team/app/manifests/{digest}")).status == 202
    assert (await bench.ask("GET", "/v2/team/app/manifests/v2")).status == 404
    assert (await bench.ask("GET", "/v2/team/app/tags/list")).json["tags"] == []
    assert (await bench.ask("DELETE", f"/v2/team/app/blobs/{layer}")).status == 202
    assert (await bench.ask("GET", f"/v2/team/app/blobs/{layer}")).status == 404


async def test_referrers(bench: Any, make: Any) -> None:
    digest = await bench.push("team/app", "v1", make.Image("one"))
    subject = make.descriptor(make.Image("one").manifest, make.OCI)
    await bench.blob("team/app", b"{}")
    sbom = make.manifest(b"{}", subject=subject, artifactType="example/sbom", annotations={"made.by": "hand"})
    signature = make.manifest(b"{}", subject=subject, config_type="example/signature")
    for data in (sbom, signature):
        answer = await bench.put("team/app", sha256(data), data)
        assert (answer.status, answer.headers["oci-subject"]) == (201, digest)
    everything = await bench.ask("GET", f"/v2/team/app/referrers/{digest}")
    assert everything.headers["content-type"] == make.INDEX
    assert {entry["artifactType"] for entry in everything.json["manifests"]} == {"example/sbom", "example/signature"}
    filtered = await bench.ask("GET", f"/v2/team/app/referrers/{digest}?artifactType=example%2Fsbom")
    assert filtered.headers["oci-filters-applied"] == "artifactType"
    (entry,) = filtered.json["manifests"]
    wanted = {"digest": sha256(sbom), "size": len(sbom), "mediaType": make.OCI, "artifactType": "example/sbom"}
    assert entry == {**wanted, "annotations": {"made.by": "hand"}}
    await bench.ask("DELETE", f"/v2/team/app/manifests/{sha256(sbom)}")
    assert len((await bench.ask("GET", f"/v2/team/app/referrers/{digest}")).json["manifests"]) == 1


async def test_a_subject_may_come_later(bench: Any, make: Any) -> None:
    await bench.blob("team/app", b"{}")
    data = make.manifest(b"{}", subject=make.descriptor(b"not there yet", make.OCI), artifactType="x")
    assert (await bench.put("team/app", "early", data)).status == 201
    found = await bench.ask("GET", f"/v2/team/app/referrers/{sha256(b'not there yet')}")
    assert len(found.json["manifests"]) == 1


async def test_many_push_the_same_blob_and_tag_at_once(bench: Any, make: Any) -> None:
    images = [make.Image(str(number % 3)) for number in range(12)]
    digests = await asyncio.gather(*(bench.push("team/app", "latest", image) for image in images))
    tagged = await bench.ask("HEAD", "/v2/team/app/manifests/latest")
    assert tagged.headers["docker-content-digest"] in digests
    for image in images[:3]:
        assert (await bench.ask("GET", f"/v2/team/app/blobs/{sha256(image.layer)}")).body == image.layer


async def test_two_writers_of_one_session_get_in_line(bench: Any) -> None:
    place = (await bench.ask("POST", UPLOADS, b"")).headers["location"]
    chunks = [bench.ask("PATCH", place, BLOB, content_range="0-999") for _ in range(4)]
    assert sorted(answer.status for answer in await asyncio.gather(*chunks)) == [202, 416, 416, 416]
