"""Image references as Docker reads them."""

import pytest

from fairway.toolkit.oci.reference import InvalidReference, parse

DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "canonical", "familiar"),
    [
        ("nginx", "docker.io/library/nginx:latest", "nginx"),
        ("nginx:alpine", "docker.io/library/nginx:alpine", "nginx"),
        ("bitnami/kubectl", "docker.io/bitnami/kubectl:latest", "bitnami/kubectl"),
        ("docker.io/nginx", "docker.io/library/nginx:latest", "nginx"),
        ("index.docker.io/library/nginx", "docker.io/library/nginx:latest", "nginx"),
        ("localhost/web", "localhost/web:latest", "localhost/web"),
        ("localhost:5000/web:v1", "localhost:5000/web:v1", "localhost:5000/web"),
        ("127.0.0.1:5000/a/b/c", "127.0.0.1:5000/a/b/c:latest", "127.0.0.1:5000/a/b/c"),
        ("[::1]:5000/web", "[::1]:5000/web:latest", "[::1]:5000/web"),
        ("harbor.corp.com/web:v1", "harbor.corp.com/web:v1", "harbor.corp.com/web"),
        (f"nginx@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", "nginx"),
        (f"nginx:1.25@{DIGEST}", f"docker.io/library/nginx@{DIGEST}", "nginx"),
        ("my-web:1.0", "docker.io/library/my-web:1.0", "my-web"),
        ("a/b__c.d-e---f:T_1.x-y", "docker.io/a/b__c.d-e---f:T_1.x-y", "a/b__c.d-e---f"),
        ("Registry/web", "Registry/web:latest", "Registry/web"),
    ],
)
def test_names_are_normalised(text: str, canonical: str, familiar: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.familiar_name) == (canonical, familiar)
    assert parse(str(reference)) == parse(canonical)


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", ":", "nginx:", "nginx:a b", ":latest", "a//b", "/a", "a/", "../a", "a/../b", "nginx@"),
        *("Nginx", "nginx:" + "x" * 129, "x" * 256, "http://nginx", "ng inx", "nginx\n", "docker.io/", "-a", "a_", "é"),
        *("nginx@sha256:12", "nginx@md5:" + "a" * 32, "nginx@" + DIGEST.upper()),
    ],
)
def test_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidReference):
        parse(text)
