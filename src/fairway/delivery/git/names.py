"""Which names of repositories, refs, commits and paths are sound, before git or a file system sees them."""

import re

_LABEL = re.compile(r"[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?")
_COMMIT = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REF_FORBIDDEN = re.compile(r"[\x00-\x20\x7f~^:?*\[\\]|\.\.|@\{|//")
_REF_BYTES_MAX = 200
_PATH_BYTES_MAX = 4000
_NAME_BYTES_MAX = 255
ZERO = re.compile(r"0{40}(0{24})?")
"""The id that stands for "there is none" in git's protocol."""


def is_repository(namespace: str, app: str) -> bool:
    """Whether both are names as Kubernetes has them, so that they are safe in paths."""
    return all(_LABEL.fullmatch(name) and ".." not in name for name in (namespace, app))


def is_commit(text: str) -> bool:
    """Whether it is a full object id."""
    return _COMMIT.fullmatch(text) is not None


def ref_problem(ref: str) -> str:
    """Why a ref's name is refused, or an empty string. Follows git-check-ref-format(1), and is stricter in length."""
    if not ref.startswith(("refs/heads/", "refs/tags/")):
        return "only branches (refs/heads/…) and tags (refs/tags/…) can be pushed"
    name = ref.split("/", 2)[2]
    if len(ref.encode()) > _REF_BYTES_MAX:
        return f"the name is longer than {_REF_BYTES_MAX} bytes; choose a shorter one"
    if not ref.isprintable():
        return "the name has control characters; choose another name"
    parts = name.split("/")
    broken = _REF_FORBIDDEN.search(ref) or not name or name.startswith("-") or name == "@" or ref.endswith((".", "/"))
    if broken or any(part.startswith(".") or part.endswith(".lock") or not part for part in parts):
        return "the name is not a valid ref (see git-check-ref-format); choose another name"
    return ""


def is_branch(branch: str) -> bool:
    """Whether a branch may have that name."""
    return not ref_problem(f"refs/heads/{branch}")


def path_problem(path: str) -> str:
    """Why a path inside a repository is refused, or an empty string. The root is the empty path."""
    if not path:
        return ""
    if path.startswith("/"):
        return "is absolute"
    if len(path.encode("utf-8", "surrogateescape")) > _PATH_BYTES_MAX:
        return f"is longer than {_PATH_BYTES_MAX} bytes"
    return next((problem for part in path.split("/") if (problem := _part_problem(part))), "")


def _part_problem(part: str) -> str:
    if part in ("", ".", ".."):
        return f'has the part "{part}"'
    if any(ord(char) < 0x20 or ord(char) == 0x7F for char in part):
        return "has control characters"
    if part.lower().rstrip(" .") in (".git", "git~1"):
        return 'has the part ".git", which belongs to git itself'
    if len(part.encode("utf-8", "surrogateescape")) > _NAME_BYTES_MAX:
        return f"has a part longer than {_NAME_BYTES_MAX} bytes"
    return ""
