"""Which user text may reach HAProxy: strict alphabets, one function per noun, all raising `Refused`.

Nothing here is unquoted or escaped later: what passes is harmless in a map, a command and a configuration file.
"""

import ipaddress
import re
import warnings

PATH_CHARS_MAX = 1024
_HOST = re.compile(
    r"(?=.{1,253}\Z)(?:\*\.)?[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?)*"
)
_PATH = re.compile(r"/[A-Za-z0-9._~/@:+,=&$!*()-]*")
_BAD_SEGMENT = re.compile(r"//|/\.\.?(?:/|\Z)")
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,128}")
_TARGET = re.compile(r"/?[-._~a-zA-Z0-9/$:]*")  # ingress-nginx' own rule for rewrite-target
_GROUP = re.compile(r"\$(.?)")
_URL = re.compile(
    r"https?://[A-Za-z0-9.-]{1,253}(?::\d{1,5})?(?:/[A-Za-z0-9._~/@:+,=&!*()?%-]*)?(?:#[A-Za-z0-9._~/-]*)?"
)
_ORIGIN = re.compile(r"https?://(?:\*\.)?[A-Za-z0-9.-]{1,253}(?::\d{1,5})?")
_REGEX_PIECE = re.compile(
    r"""(?: [\w/~@:,=&!<>%-] | \. | \\[dDwWsS.+*?()/\[\]{}|^$-]         # one character
          | \[ \^? (?: [\w/.~@:,=&!<>%+*?()|$-] | \\[dDwWsS.\]\[\\^/-] )+ \]  # or class,
        ) (?: (?: [*+?] | \{\d{1,3}(?:,\d{0,3})?\} ) \?? )?             # perhaps repeated
      | \( (?: \?: | \?= | \?! )?
      | \) (?: [*+?] \?? )?    # no counts for groups: nested ones explode when PCRE compiles them
      | [|^$]
      | \\[bB]""",
    re.VERBOSE | re.ASCII,
)


class Refused(ValueError):
    """Text that cannot be used; the message says why and what would do."""


def host(text: str) -> str:
    """A DNS name, perhaps with one leading `*.`, in lower case; Unicode names become their ASCII form."""
    try:
        name = text if text.isascii() else text.encode("idna").decode("ascii")
    except UnicodeError:
        raise Refused(f"host {short(text)} is not a domain name") from None
    name = name.lower().removesuffix(".")
    if not _HOST.fullmatch(name):
        raise Refused(f"host {short(text)} is not a domain name")
    return name


def exact_host(text: str) -> str:
    """A DNS name without a wildcard."""
    name = host(text)
    if name.startswith("*"):
        raise Refused(f"host {short(text)} must not be a wildcard")
    return name


def cookie_path(text: str) -> str:
    """A path for a cookie; narrower than `path`, because it stands in quotes in the configuration."""
    if not re.fullmatch(r"/[A-Za-z0-9._~/-]{0,200}", text):
        raise Refused(f"path {short(text)} must start with / and be made of letters, digits and ._~/-")
    return text


def path(text: str) -> str:
    """A literal path."""
    if not _PATH.fullmatch(text) or len(text) > PATH_CHARS_MAX:
        raise Refused(f"path {short(text)} must start with / and be made of letters, digits and ._~/@:+,=&$!*()-")
    if _BAD_SEGMENT.search(text):
        raise Refused(f"path {short(text)} must not contain //, /./ or /../: requests are compared in normal form")
    return text


def regex(text: str) -> str:
    """A path expression, in the part of the syntax that Python and PCRE read alike."""
    if not text.startswith("/") or len(text) > PATH_CHARS_MAX:
        raise Refused(f"path {short(text)} must start with / and have at most {PATH_CHARS_MAX} characters")
    position = 0
    while position < len(text):
        piece = _REGEX_PIECE.match(text, position)
        if piece is None:
            raise Refused(f"path {short(text)} uses an expression that is not supported at {short(text[position:])}")
        position = piece.end()
    try:
        with warnings.catch_warnings(action="error"):
            re.compile(text)
    except (re.error, FutureWarning, OverflowError, RecursionError) as error:
        raise Refused(f"path {short(text)} is not a valid regular expression: {error}") from None
    return text


def expression(text: str) -> str:
    """An expression for something else than a path: the same syntax, without the leading slash."""
    regex(text if text.startswith("/") else f"/{text}")
    return text


def target(text: str) -> str:
    """The value of rewrite-target: a path with $1 to $9."""
    if not text or len(text) > PATH_CHARS_MAX or not _TARGET.fullmatch(text):
        raise Refused(f"rewrite-target {short(text)} must be a path of letters, digits and -._~/:$")
    if any(group not in "123456789" or not group for group in _GROUP.findall(text)):
        raise Refused(f"rewrite-target {short(text)} has a $ that names no group; groups are $1 to $9")
    return text


def url(text: str) -> str:
    """An absolute address to redirect to."""
    if len(text) > PATH_CHARS_MAX or not _URL.fullmatch(text):
        raise Refused(f"{short(text)} is not an absolute http or https address without variables")
    return text


def token(text: str) -> str:
    """A header or cookie name, or a plain value."""
    if not _TOKEN.fullmatch(text):
        raise Refused(f"{short(text)} must be made of letters, digits, - and _")
    return text


def header_value(text: str) -> str:
    """A header value without variables; printable ASCII without what HAProxy's double quotes leave special."""
    if not re.fullmatch(r"[ !#%-\[\]-~]{0,2048}", text):
        raise Refused(f"{short(text)} must be printable ASCII without double quotes, $ and backslashes")
    return text


def domain(text: str) -> str:
    """The domain of a cookie, perhaps with a leading dot."""
    exact_host(text.removeprefix("."))
    return text.lower()


def object_name(text: str) -> str:
    """`name` or `namespace/name` of an object."""
    if not re.fullmatch(r"(?:[a-z0-9][-a-z0-9]{0,62}/)?[a-z0-9][-a-z0-9.]{0,252}", text):
        raise Refused(f"{short(text)} is not name or namespace/name of an object")
    return text


def service_port(text: str) -> str:
    """`name` or `name:port` of a Service."""
    if not re.fullmatch(r"[a-z0-9][-a-z0-9]{0,62}(?::[a-z0-9][-a-z0-9]{0,14})?", text):
        raise Refused(f"{short(text)} is not the name of a Service, perhaps with :port")
    return text


def codes(text: str) -> tuple[int, ...]:
    """Comma-separated error statuses."""
    return tuple(sorted({number(part.strip(), 400, 599) for part in text.split(",")}))


def hosts(text: str) -> tuple[str, ...]:
    """Comma-separated hosts."""
    return tuple(dict.fromkeys(host(part.strip()) for part in text.split(",") if part.strip()))


def tokens(text: str) -> tuple[str, ...]:
    """Comma-separated tokens."""
    return tuple(dict.fromkeys(token(part.strip()) for part in text.split(",") if part.strip()))


def ciphers(text: str) -> str:
    """An OpenSSL cipher list."""
    if not re.fullmatch(r"[A-Za-z0-9:+!@_=-]{1,1024}", text) or text.startswith("-"):
        raise Refused(f"{short(text)} is not an OpenSSL cipher list")
    return text


def protocols(text: str) -> tuple[str, str]:
    """Names such as `TLSv1.2 TLSv1.3` to the least and the most."""
    known = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
    found = sorted({one_of(part, *known) for part in text.split()})
    if not found:
        raise Refused(f"no version is named; they are {', '.join(known)}")
    names = {"TLSv1": "TLSv1.0"}
    return names.get(found[0], found[0]), names.get(found[-1], found[-1])


def realm(text: str) -> str:
    """What a browser shows when it asks for a password."""
    if not re.fullmatch(r"[A-Za-z0-9 .,:;!?_()/@-]{1,200}", text):
        raise Refused(f"realm {short(text)} must be made of letters, digits, spaces and .,:;!?_()/@-")
    return text


def common_name(text: str) -> str:
    """`CN=EXPRESSION`."""
    if not text.startswith("CN="):
        raise Refused(f"{short(text)} must start with CN=")
    return expression(text.removeprefix("CN="))


def change(text: str) -> tuple[str, str] | None:
    """`off`, or what is replaced and by what."""
    words = text.split()
    if words in (["off"], ["default"], []):
        return None
    if len(words) != 2 or not all(re.fullmatch(r"[A-Za-z0-9.:/_~-]{1,253}", word) for word in words):
        raise Refused(f"{short(text)} is not off, or two words of letters, digits and .:/_~-")
    return words[0], words[1]


def location(text: str) -> str:
    """One side of a change of Location."""
    if not re.fullmatch(r"[A-Za-z0-9.:/_~-]{1,253}", text):
        raise Refused(f"{short(text)} must be made of letters, digits and .:/_~-")
    return text


def fcgi_index(text: str) -> str:
    """A file name."""
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,100}", text):
        raise Refused(f"{short(text)} is not a file name")
    return text


def redirect(text: str) -> str:
    """An absolute address to redirect to, with $1 to $9 of a path expression, perhaps `$request_uri` at the end."""
    plain = _GROUP.sub("x", text.removesuffix("$request_uri"))
    groups = _GROUP.findall(text.removesuffix("$request_uri"))
    if any(group not in "123456789" or not group for group in groups):
        raise Refused(f"{short(text)} has a $ that is neither a group, $1 to $9, nor $request_uri at the end")
    url(plain)
    return text


def prefix(text: str) -> str:
    """A value of X-Forwarded-Prefix."""
    return path(text if text.startswith("/") else f"/{text}")


def seconds(text: str) -> int:
    """A time as nginx writes it: seconds, or with s, m, h or d."""
    match = re.fullmatch(r"(\d{1,8})([smhd]?)", text, re.ASCII)
    if match is None:
        raise Refused(f"{short(text)} is not a time such as 60s")
    return int(match[1]) * {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}[match[2]]


def cache_times(text: str) -> tuple[tuple[int, int], ...]:
    """`200 202 5m, 401 30s` to statuses and seconds."""
    found: dict[int, int] = {}
    for part in text.split(","):
        *statuses, time = part.split() or [""]
        for status in statuses or ["200", "202", "401"]:
            found[number(status, 200, 599)] = seconds(time)
    return tuple(sorted(found.items()))


def retry_conditions(text: str) -> tuple[str, ...]:
    """The words of proxy_next_upstream."""
    statuses = (f"http_{code}" for code in (500, 502, 503, 504, 403, 404, 429))
    known = ("error", "timeout", "invalid_header", *statuses, "non_idempotent", "off")
    return tuple(dict.fromkeys(one_of(word, *known) for word in text.split()))


def token_list(text: str) -> str:
    """Comma-separated tokens, or `*`."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    return ", ".join(part if part == "*" else token(part) for part in parts)


def origins(text: str) -> tuple[str, ...]:
    """Comma-separated origins: `*`, or scheme and host, perhaps with one leading `*.`."""
    found = tuple(part.strip() for part in text.split(",") if part.strip())
    for part in found:
        if part != "*" and not _ORIGIN.fullmatch(part):
            raise Refused(f"origin {short(part)} must be * or like https://app.example.com or https://*.example.com")
    if not found:
        raise Refused("no origin is named")
    return found


def networks(text: str) -> tuple[str, ...]:
    """Comma-separated addresses and CIDR blocks."""
    try:
        found = [str(ipaddress.ip_network(part.strip(), strict=False)) for part in text.split(",") if part.strip()]
    except ValueError as error:
        raise Refused(f"{short(text)} is not a list of networks: {error}") from None
    return tuple(sorted(set(found)))


def boolean(text: str) -> bool:
    """The words Go's ParseBool knows."""
    if text in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if text in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise Refused(f"{short(text)} is not true or false")


def number(text: str, least: int, most: int) -> int:
    """A whole number within bounds."""
    if not (text.isascii() and text.isdigit() and len(text) < 12 and least <= int(text) <= most):
        raise Refused(f"{short(text)} is not a whole number from {least} to {most}")
    return int(text)


def size(text: str) -> int:
    """A size as nginx writes it: bytes, or with k, m or g. 0 means no limit."""
    match = re.fullmatch(r"(\d{1,12})([kKmMgG]?)", text, re.ASCII)
    if match is None:
        raise Refused(f"{short(text)} is not a size such as 8m")
    return int(match[1]) << {"": 0, "k": 10, "m": 20, "g": 30}[match[2].lower()]


def one_of(text: str, *words: str) -> str:
    """One of some words, whatever its case; as the list spells it."""
    for word in words:
        if text.lower() == word.lower():
            return word
    raise Refused(f"{short(text)} is not one of {', '.join(words)}")


def short(text: str) -> str:
    """Text for a message: quoted, printable and not longer than a line."""
    return repr(text if len(text) <= 80 else text[:77] + "...")
