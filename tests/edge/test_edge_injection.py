"""No text of a user becomes configuration: whatever Ingresses say, every line is one of ours and HAProxy takes it."""

import random
import re
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fairway.edge.place import EMPTY, place
from fairway.edge.plan import Reload
from fairway.edge.render import Options, files, render
from fairway.edge.render.rendered import Rendered
from fairway.edge.snapshot import Snapshot, of_manifests
from fairway.edge.translate import translate
from fairway.edge.translate.table import NGINX
from fairway.toolkit.haproxy.runtime import escape

# fmt: off
NATIVE = tuple(one.name for one in NGINX)
NASTY = (
    '"', "'", "\\", "\n", "\r\n", "\0", "%[src]", "${HOME}", "#", ";", " ", "\t", "|", "~", "{", "}", "(", ")", "[",
    "*", "$1", "\\1", "\ud800", "é", "\u2028", "acl x src 0.0.0.0/0", "\n  http-request allow\n", "a" * 3000, "../",
    "-f", "",
)
GOOD = {
    "rewrite-target": "/$1", "app-root": "/a", "permanent-redirect": "https://x.test/", "canary-by-header": "X-A",
    "backend-protocol": "HTTPS", "proxy-body-size": "8m", "allowlist-source-range": "10.0.0.0/8", "affinity": "cookie",
    "upstream-vhost": "v.test", "cors-allow-origin": "https://*.x.test", "cors-allow-headers": "X-A, X-B",
    "session-cookie-path": "/c", "session-cookie-samesite": "Lax",
}
# fmt: on
TEXT = st.lists(st.one_of(st.sampled_from(NASTY), st.text(max_size=5)), max_size=4).map("".join)
ANNOTATIONS = st.dictionaries(
    st.sampled_from(sorted(NATIVE)), st.one_of(TEXT, st.sampled_from(["true", "1", "5", "/x"])), max_size=6
).flatmap(lambda found: st.sampled_from([found, {**GOOD, **found}]))
PATHS = st.one_of(
    TEXT, TEXT.map(lambda text: "/" + text), st.sampled_from(["/", "/a(/|$)(.*)", "/[a-z]+", "/a{2}", "/x$", "/(?!y)"])
)
HOSTS = st.one_of(TEXT, TEXT.map(lambda text: f"{text}.test"), st.sampled_from(["a.test", "*.a.test", ""]))
KINDS = st.sampled_from(["Exact", "Prefix", "ImplementationSpecific", "x"])

NAME = "[A-Za-z0-9_-]+"
THIS = rf"canary !picked \{{ var\(txn\.canary\),field\([35],\|\) -m str {NAME} \}}"
TEMPLATES = tuple(
    re.compile(pattern)
    for pattern in (
        r"timeout (connect|server|tunnel) \d+s",
        r"acl (allowed|denied) src( [0-9a-f.:]+/\d+)+",
        r"http-request deny deny_status 403 if (!allowed|denied)",
        r"http-request deny deny_status 413 if \{ req\.body_size gt \d+ \}",
        r"http-request set-header Host [a-z0-9.-]+",
        r"acl cross req\.hdr\(Origin\) -m (str|reg) [A-Za-z0-9:/.^$\[\]+-]+",
        r"http-request set-var\(txn\.origin\) (str\(\*\)|req\.hdr\(Origin\) if cross)",
        r"http-request return status 204 if METH_OPTIONS \{ var\(txn\.origin\) -m found \}",
        r'http-after-response set-header Access-Control-[A-Za-z-]+ "(%\[var\(txn\.origin\)\]|[A-Za-z0-9,_* -]+)"'
        r" if \{ var\(txn\.origin\) -m found \}",
        r"cookie [A-Za-z0-9_-]+ insert indirect nocache httponly dynamic( secure)?"
        r'( attr "(Path=/[A-Za-z0-9._~/-]*|Max-Age=\d+|SameSite=(Lax|Strict|None))")*',
        r"dynamic-cookie-key fairway",
        r"server s\d+ (\[[0-9a-f:]+\]|[0-9.]+):\d+( ssl verify none| proto h2| alpn h2)*( disabled)?",
        r"backend (p|pt|b[0-9a-f]{12}n)\d+ from edge",
        r"http-request set-timeout (server|tunnel) str\(\w+\.timeout\),map_str_int\(maps/tuning\.map,\d+\)",
        r"http-request set-var\(txn\.body_max\) str\(\w+\.body\),map_str_int\(maps/tuning\.map,\d+\)",
        r"http-request deny deny_status 413 if \{ req\.body_size,sub\(txn\.body_max\) -m int gt 0 \}",
        r"http-request set-var\(txn\.value\) var\(txn\.canary\),field\(4,\|\) if canary",
        rf"http-request set-var\(txn\.pick\) str\((yes|no)\) if {THIS}( !?\{{ var\(txn\.value\) -m len gt 0 \}})?"
        rf" \{{ req\.(hdr|cook)\({NAME}\)(,strcmp\(txn\.value\) -m int 0| -m str (always|never)) \}}",
    )
)
NOTHING = translate(of_manifests([])).edge
FRAME = set(files(render(NOTHING, place(NOTHING), Options(http="fd@3")))["haproxy.cfg"].splitlines())


def snapshot(make: Any, host: str, path: str, kind: str, annotations: dict[str, str], canary: bool) -> Snapshot:
    raws = [
        *make.classes(),
        make.ingress("i", (host, path, kind, "web"), annotations=annotations, tls={"s": [host]}),
        make.ingress("other", ("a.test", "/other", "Prefix", "web"), created="2026-02-01T00:00:00Z"),
        *make.service("web", ("10.0.0.1", 80)),
    ]
    if canary:
        marked = {**annotations, "canary": "true"}
        raws.append(make.ingress("c", (host, path, kind, "web"), annotations=marked, created="2026-02-01T00:00:00Z"))
    return of_manifests(raws)


def check_lines(rendered: Rendered) -> None:
    found = files(rendered)
    for line in found["haproxy.cfg"].splitlines():
        assert line in FRAME or any(pattern.fullmatch(line.strip()) for pattern in TEMPLATES), line
    for name, text in found.items():
        if name.endswith(".map"):
            for line in text.splitlines():
                assert re.fullmatch(r"[!-~]+ [!-~]+", line, re.ASCII), (name, line)
                assert all(escape(word) for word in line.split(" "))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(HOSTS, PATHS, KINDS, ANNOTATIONS, st.booleans())
def test_every_line_is_ours(
    make: Any, host: str, path: str, kind: str, annotations: dict[str, str], canary: bool
) -> None:
    translation = translate(snapshot(make, host, path, kind, annotations, canary))
    check_lines(render(translation.edge, place(translation.edge, EMPTY), Options(http="fd@3")))
    assert any(route.match.host == "a.test" for route in translation.edge.routes)


@pytest.mark.parametrize("seed", range(6))
async def test_haproxy_takes_what_comes_out(edge: Any, make: Any, seed: int) -> None:
    """The same hostile values, many Ingresses in one configuration, started for real."""
    raws = [*make.service("web", ("10.0.0.1", 80))]
    for number in range(100):
        rule, annotations = drawn(seed * 1000 + number)
        raws.append(make.ingress(f"i{number}", (*rule, "web"), annotations=annotations))
    step = await edge.apply(raws)
    assert isinstance(step, Reload)
    raws = raws[: len(raws) // 2]
    await edge.apply(raws)
    await edge.apply([*raws, make.ingress("new", ("new.test", "/", "Prefix", "web"))])


def drawn(number: int) -> tuple[tuple[str, str, str], dict[str, str]]:
    """One hostile Ingress; the same number draws the same."""
    draw = random.Random(number)
    hosts = (f"h{number}.test", f"*.w{number}.test", "same.test", "x" + draw.choice(NASTY) + ".test")
    paths = ("/", "/a(/|$)(.*)", "/[a-z]{1,2}", "/a|b", "/(?!x)y", "/b/$", "/(a+)+$", "/" + draw.choice(NASTY))
    names = draw.sample(sorted(set(NATIVE) - {"canary"}), 5)
    values = {name: (draw.choice(NASTY), GOOD.get(name, "true"), GOOD.get(name, "5")) for name in names}
    rule = draw.choice(hosts), draw.choice(paths), draw.choice(("Exact", "Prefix", "ImplementationSpecific"))
    return rule, {name: draw.choice(found) for name, found in values.items()}
