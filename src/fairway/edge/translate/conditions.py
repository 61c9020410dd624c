"""`fairway.dev/match`: what else of a request an Ingress asks for, such as `header X-Env = beta; method = GET`."""

import re

from fairway.edge.ir import Condition, Source
from fairway.edge.translate import checks
from fairway.edge.translate.checks import Refused, short

_CONDITIONS_MAX = 8
_FORM = re.compile(r"\s*(header|cookie|query|method|language)(?:\s+([A-Za-z0-9_.-]{1,128}))?\s*(=|~)\s*(.*?)\s*")
_NAMED = (Source.HEADER, Source.COOKIE, Source.QUERY)


def parse(text: str) -> tuple[Condition, ...]:
    """Conditions that must all hold, apart by semicolons. `=` compares, `~` is an expression for the whole value."""
    found = tuple(sorted((_one(part) for part in text.split(";") if part.strip()), key=_order))
    if not 0 < len(found) <= _CONDITIONS_MAX:
        raise Refused(f"{len(found)} conditions; there must be 1 to {_CONDITIONS_MAX}")
    if len({(one.source, one.name) for one in found}) != len(found):
        raise Refused("the same header, cookie or parameter is named twice")
    return found


def _one(text: str) -> Condition:
    match = _FORM.fullmatch(text)
    if match is None:
        raise Refused(f"{short(text)} is not like `header X-Env = beta`, `cookie c ~ a|b` or `method = GET`")
    source, name, regex, value = Source(match[1]), match[2] or "", match[3] == "~", match[4]
    if bool(name) is not (source in _NAMED):
        raise Refused(f"{short(text)}: header, cookie and query have a name, method and language have none")
    if regex:
        checks.expression(value)
    elif not re.fullmatch(r"[!-~]{1,256}", value):
        raise Refused(f"{short(text)}: the value must be printable ASCII without spaces; use ~ for anything else")
    name = name.lower() if source is Source.HEADER else name
    value = value.upper() if source is Source.METHOD and not regex else value
    return Condition(source, name, value.lower() if source is Source.LANGUAGE else value, regex)


def _order(condition: Condition) -> tuple[str, str]:
    return condition.source.value, condition.name
