"""The directives of snippets as HAProxy's rules."""

from collections.abc import Iterator

from fairway.edge.policy import Directive, Test
from fairway.edge.render import text

_REDIRECTS = (301, 302, 303, 307, 308)
_FLAGS = {"permanent": 301, "redirect": 302}


def snippet(directives: tuple[Directive, ...]) -> tuple[str, ...]:
    """In the order in which they stand."""
    return tuple(line for number, one in enumerate(directives) for line in _lines(one, number))


def _lines(one: Directive, number: int) -> Iterator[str]:
    when = f"if {' '.join(_test(test) for test in one.when)}" if one.when else ""
    later = ""
    if one.when and one.verb in ("response-header", "add-header", "hide-header", "clear-header"):
        # Answers are no place to look at requests, so what was true is remembered.
        yield f"http-request set-var(txn.when{number}) bool(true) {when}"
        later = f"if {{ var(txn.when{number}) -m bool }}"
    match one.verb:
        case "request-header" if one.name.lower() in ("upgrade", "connection"):
            return  # HAProxy hands upgrades on by itself
        case "request-header" if not one.text:
            yield f"http-request del-header {one.name} {when}".rstrip()
        case "request-header":
            yield f"http-request set-header {one.name} {text.format_of(one.text)} {when}".rstrip()
        case "response-header" | "add-header":
            yield from _response(one, number, later)
        case "hide-header" | "clear-header":
            yield f"http-response del-header {one.name} {later}".rstrip()
        case "set":
            yield f"http-request set-var-fmt(txn.own_{one.name}) {text.format_of(one.text)} {when}".rstrip()
        case "return":
            yield f"{_return(one)} {when}".rstrip()
        case "rewrite":
            yield from _rewrite(one, when)


def _response(one: Directive, number: int, later: str) -> Iterator[str]:
    yield f"http-request set-var-fmt(txn.text{number}) {text.format_of(one.text)}"
    verb = "add-header" if one.verb == "add-header" else "set-header"
    condition = later
    if one.verb == "add-header" and one.flag != "always":
        condition = f"{later or 'if'} {{ status 200 201 204 206 301 302 303 304 307 308 }}"
    yield f"http-after-response {verb} {one.name} %[var(txn.text{number})] {condition}".rstrip()


def _return(one: Directive) -> str:
    if one.code in _REDIRECTS:
        return f"http-request redirect location {text.format_of(one.text)} code {one.code}"
    body = f" content-type text/plain lf-string {text.format_of(one.text)}" if one.text else ""
    return f"http-request return status {one.code}{body}"


def _rewrite(one: Directive, when: str) -> Iterator[str]:
    pattern, target = text.expression(one.name), text.replacement(str(one.text[0]))
    yield "http-request set-var(txn.before) path"
    yield f"http-request replace-path {pattern} {target} {when}".rstrip()
    if code := _FLAGS.get(one.flag):
        yield f"http-request redirect location %[pathq] code {code} if !{{ path,strcmp(txn.before) -m int 0 }}"


def _test(test: Test) -> str:
    found = text.fetch(test.variable)
    match test.operator:
        case "set":
            return f"{{ {found} -m len gt 0 }} !{{ {found} -m str 0 }}"
        case "=" | "!=":
            sign = "!" if test.operator == "!=" else ""
            return (
                f'{sign}{{ {found} -m str -- "{test.value}" }}' if test.value else f"{sign or ''}{{ {found} -m len 0 }}"
            )
    sign = "!" if test.operator.startswith("!") else ""
    case = " -i" if test.operator.endswith("*") else ""
    return f"{sign}{{ {found} -m reg{case} -- {text.expression(test.value)} }}"
