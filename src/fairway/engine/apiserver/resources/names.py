"""Which names Kubernetes allows, and what it says about the others.

Each function takes a text and returns what is wrong with it; an empty list means it is fine. Rules: RFC 1123 and RFC
1035 labels, and the documentation "Object Names and IDs" and "Labels and Selectors".
"""

import re

LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
SUBDOMAIN = rf"{LABEL}(\.{LABEL})*"
LABEL_1035 = "[a-z]([-a-z0-9]*[a-z0-9])?"
NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
VALUE = f"({NAME_PART})?"
CONFIG_KEY = "[-._a-zA-Z0-9]+"

_SUBDOMAIN_SAYS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', "
    "and must start and end with an alphanumeric character"
)
_LABEL_SAYS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', "
    "and must start and end with an alphanumeric character"
)
_LABEL_1035_SAYS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', "
    "start with an alphabetic character, and end with an alphanumeric character"
)
_QUALIFIED_SAYS = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character"
)
_VALUE_SAYS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', "
    "and must start and end with an alphanumeric character"
)
_WILDCARD_SAYS = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of "
    "lower case alphanumeric characters, '-' or '.' and end with an alphanumeric character"
)
_CONFIG_KEY_SAYS = "a valid config key must consist of alphanumeric characters, '-', '_' or '.'"
_ENV_SAYS = "a valid environment variable name must consist only of printable ASCII characters other than '='"


def dns_subdomain(text: str) -> list[str]:
    """A host name of at most 253 bytes: the rule for most object names."""
    return _too_long(text, 253) + _unless(SUBDOMAIN, text, _SUBDOMAIN_SAYS, "example.com")


def dns_label(text: str) -> list[str]:
    """One part of a host name, at most 63 bytes: namespaces, containers, volumes."""
    found = _too_long(text, 63)
    if not re.fullmatch(LABEL, text) and re.fullmatch(SUBDOMAIN, text):
        return [*found, "must not contain dots"]
    return found + _unless(LABEL, text, _LABEL_SAYS, "my-name", "123-abc")


def dns_1035_label(text: str) -> list[str]:
    """One part of a host name that starts with a letter: services."""
    return _too_long(text, 63) + _unless(LABEL_1035, text, _LABEL_1035_SAYS, "my-name", "abc-123")


def wildcard_subdomain(text: str) -> list[str]:
    """`*.` and a host name."""
    return _too_long(text, 253) + _unless(rf"\*\.{SUBDOMAIN}", text, _WILDCARD_SAYS, "*.example.com")


def path_segment(text: str) -> list[str]:
    """Anything that fits between two slashes of a URL: RBAC objects."""
    if text in (".", ".."):
        return [f"may not be '{text}'"]
    return [f"may not contain '{bad}'" for bad in ("/", "%") if bad in text]


def qualified(text: str) -> list[str]:
    """A label or annotation key: an optional host name and a slash, then a name of at most 63 bytes."""
    prefix, slash, name = text.rpartition("/")
    if "/" in prefix:
        says = f"a qualified name {_QUALIFIED_SAYS}"
        example = " with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        return [regex_message(says, NAME_PART, "MyName", "my.name", "123-abc") + example]
    found: list[str] = []
    if slash and not prefix:
        found.append("prefix part must be non-empty")
    elif slash:
        found += [f"prefix part {message}" for message in dns_subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    found += [f"name part {message}" for message in _too_long(name, 63)]
    says = f"name part {_QUALIFIED_SAYS}"
    return found + _unless(NAME_PART, name, says, "MyName", "my.name", "123-abc")


def label_value(text: str) -> list[str]:
    """A label's value: empty, or at most 63 bytes of the usual characters."""
    return _too_long(text, 63) + _unless(VALUE, text, _VALUE_SAYS, "MyValue", "my_value", "12345")


def config_key(text: str) -> list[str]:
    """A key of a ConfigMap or Secret: it becomes a file name."""
    found = _too_long(text, 253)
    if not re.fullmatch(CONFIG_KEY, text):
        found.append(regex_message(_CONFIG_KEY_SAYS, CONFIG_KEY, "key.name", "KEY_NAME", "key-name"))
    return found + _up_and_out(text)


def environment_name(text: str) -> list[str]:
    """The name of an environment variable (relaxed rule, KEP-4369)."""
    if not text:
        return ["environment variable name must be non-empty"]
    printable = all(" " <= char <= "~" and char != "=" for char in text)
    return [] if printable else [_ENV_SAYS]


def port_name(text: str) -> list[str]:
    """An IANA service name (RFC 6335): at most 15 characters, a letter among them."""
    found: list[str] = [] if len(text) <= 15 else [_limit(15)]
    if not re.fullmatch("[-a-z0-9]+", text):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", text):
        found.append("must contain at least one letter (a-z)")
    if "--" in text:
        found.append("must not contain consecutive hyphens")
    if text.startswith("-") or text.endswith("-"):
        found.append("must not begin or end with a hyphen")
    return found


def port_number(value: int) -> list[str]:
    """1 … 65535."""
    return [] if 1 <= value <= 65535 else ["must be between 1 and 65535, inclusive"]


def header_name(text: str) -> list[str]:
    """The name of an HTTP header, stricter than RFC 7230."""
    says = "a valid HTTP header must consist of alphanumeric characters or '-'"
    return _unless("[-A-Za-z0-9]+", text, says, "X-Header-Name")


def regex_message(says: str, pattern: str, *examples: str) -> str:
    """The house form of a message about a pattern, with examples."""
    shown = " or ".join(f"'{example}', " for example in examples)
    return f"{says} (e.g. {shown}regex used for validation is '{pattern}')"


def _unless(pattern: str, text: str, says: str, *examples: str) -> list[str]:
    return [] if re.fullmatch(pattern, text) else [regex_message(says, pattern, *examples)]


def _too_long(text: str, limit: int) -> list[str]:
    return [] if len(text.encode()) <= limit else [_limit(limit)]


def _limit(limit: int) -> str:
    return f"must be no more than {limit} bytes"


def _up_and_out(text: str) -> list[str]:
    if text in (".", ".."):
        return [f"must not be '{text}'"]
    return ["must not start with '..'"] if text.startswith("..") else []
