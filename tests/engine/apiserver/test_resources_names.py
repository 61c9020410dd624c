"""Names that are allowed, and what is said about the others."""

from collections.abc import Callable

import pytest

from fairway.engine.apiserver.resources import names

SUBDOMAIN = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start "
    "and end with an alphanumeric character (e.g. 'example.com', regex used for validation is "
    r"'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end "
    "with an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)


@pytest.mark.parametrize(
    ("rule", "text", "wrong"),
    [
        (names.dns_subdomain, "a.b-c.d", []),
        (names.dns_subdomain, "Foo", [SUBDOMAIN]),
        (names.dns_subdomain, "a\n", [SUBDOMAIN]),
        (names.dns_subdomain, "a" * 254, ["must be no more than 253 bytes"]),
        (names.dns_label, "web-1", []),
        (names.dns_label, "a.b", ["must not contain dots"]),
        (names.dns_label, "-a", [LABEL]),
        (names.dns_1035_label, "a1", []),
        (names.path_segment, "system:node", []),
        (names.path_segment, "a/b", ["may not contain '/'"]),
        (names.path_segment, "..", ["may not be '..'"]),
        (names.qualified, "app.kubernetes.io/name", []),
        (names.qualified, "/name", ["prefix part must be non-empty"]),
        (names.label_value, "", []),
        (names.label_value, "v" * 64, ["must be no more than 63 bytes"]),
        (names.config_key, "a.b_c-d", []),
        (names.config_key, "..", ["must not be '..'"]),
        (names.config_key, "..a", ["must not start with '..'"]),
        (names.port_name, "http", []),
        (names.port_name, "80", ["must contain at least one letter (a-z)"]),
        (names.port_name, "a--b", ["must not contain consecutive hyphens"]),
        (names.port_name, "a" * 16, ["must be no more than 15 bytes"]),
        (names.environment_name, "MY.VAR", []),
        (
            names.environment_name,
            "A=B",
            ["a valid environment variable name must consist only of printable ASCII characters other than '='"],
        ),
        (names.wildcard_subdomain, "*.example.com", []),
    ],
)
def test_names(rule: Callable[[str], list[str]], text: str, wrong: list[str]) -> None:
    assert rule(text) == wrong


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        (names.dns_1035_label, "1a"),
        (names.qualified, "a/b/c"),
        (names.qualified, ""),
        (names.wildcard_subdomain, "*.*.com"),
        (names.wildcard_subdomain, "a.*.com"),
    ],
)
def test_other_bad_names(rule: Callable[[str], list[str]], text: str) -> None:
    assert rule(text)
