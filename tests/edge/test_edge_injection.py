"""No text of a user becomes configuration: whatever Ingresses say, every line is one of ours and HAProxy takes it."""

import base64
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
    "session-cookie-path": "/c", "session-cookie-samesite": "Lax", "auth-type": "basic", "auth-secret": "users",
    "auth-url": "https://$host/oauth2/auth?x=$escaped_request_uri", "auth-signin": "https://$host/start",
    "auth-response-headers": "X-User, X-Email", "auth-cache-key": "$cookie_session", "auth-snippet":
    "proxy_set_header X-A $http_x_b;", "auth-tls-secret": "users", "auth-tls-match-cn": "CN=a.*", "satisfy": "any",
    "configuration-snippet": 'more_set_headers "X-A: b c"; if ($http_x = "v") { return 403; } rewrite ^/a/(.*)$ /$1;',
    "custom-http-errors": "404,503", "default-backend": "web", "mirror-target": "http://web.default.svc$request_uri",
    "upstream-hash-by": "$remote_addr$arg_a", "load-balance": "ewma", "limit-rps": "5", "limit-connections": "9",
    "limit-allowlist": "10.0.0.0/8", "server-alias": "alias.test", "custom-headers": "headers", "proxy-ssl-secret":
    "users", "proxy-ssl-verify": "on", "proxy-ssl-name": "x.test", "proxy-cookie-domain": "a.test b.test",
    "proxy-next-upstream": "error http_502", "canary-by-header-pattern": "a|b", "fastcgi-params-configmap": "headers",
    "proxy-redirect-from": "http://a.test/", "proxy-redirect-to": "/", "session-cookie-domain": "x.test",
    "ssl-ciphers": "HIGH:!aNULL", "proxy-ssl-ciphers": "HIGH", "proxy-ssl-protocols": "TLSv1.2 TLSv1.3",
    "auth-realm": "Log in", "x-forwarded-prefix": "/p", "auth-proxy-set-headers": "headers", "mirror-host": "m.test",
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

# A line is what is in quotes, which is one word to HAProxy, and a skeleton of few characters around it.
QUOTED = re.compile(r'"(?:[ !#%-\[\]-~]|\$\{?)*?"|' + r"'[ -&(-~]*'")
SKELETON = re.compile(r"[A-Za-z0-9_.,:;/()\[\]{}%*|!=+@~<>^$?&-]*")
HEADS = re.compile(
    r"(acl (allowed|denied|cross|known|exempt|believed|more|canary|picked|asked|met|tls) [a-z]"
    r"|http-request (set-var|set-var-fmt|unset-var)\(txn\.[a-z0-9_]+\) "
    r"|http-request (track-sc[12]|sc-inc-gpc[01]|sc-set-gpt0)"
    r"|http-request (deny deny_status \d{3}|return status \d{3}|redirect location|auth realm|set-log-level silent)( |$)"
    r"|http-request (set-header|del-header|replace-path|set-timeout|cache-use|lua\.fairway_[a-z]+|set-src)\b"
    r"|http-response (del-header|replace-header|set-header|cache-store|set-bandwidth-limit|lua\.fairway_error)\b"
    r"|http-after-response (set-header|add-header|replace-header) "
    r"|cookie |dynamic-cookie-key fairway$|balance |hash-type "
    r"|(timeout|retries|retry-on|stick-table|user|bind|filter|compression|option http-buffer-request|use-fcgi-app) ?"
    r"|server s\d+ |(use_backend|default_backend|tcp-request|docroot|index|set-param|total-max-size|max-object-size) "
    r"|(max-age|process-vary|lua-load-per-thread|httpclient\.ssl\.verify) "
    r"|(backend|frontend|userlist|cache|fcgi-app) [a-z0-9]+( from (edge|tcp))?$)"
)
NOTHING = translate(of_manifests([])).edge
FRAME = set(files(render(NOTHING, place(NOTHING), Options(http="fd@3")))["haproxy.cfg"].splitlines())


def contents(name: str, value: str) -> list[dict[str, Any]]:
    """Hostile Secrets and ConfigMaps under the names that GOOD refers to, and those of the controller."""
    encoded = base64.b64encode(value.encode("utf-8", "surrogatepass")).decode()
    line = base64.b64encode(
        f"{name}:{value}\nbob:$1$abcdefgh$irWbblnpmw.5z7wgBnprh0\n".encode("utf-8", "surrogatepass")
    )
    return [
        {"kind": "Secret", "metadata": {"name": "users", "namespace": "default"},
         "data": {"auth": line.decode(), "ca.crt": encoded, "tls.crt": encoded, "tls.key": value}},
        {"kind": "ConfigMap", "metadata": {"name": "headers", "namespace": "default"}, "data": {name: value}},
        {"kind": "ConfigMap", "metadata": {"name": "ingress-nginx-controller", "namespace": "ingress-nginx"},
         "data": {"add-headers": "default/headers", "gzip-types": value, "use-gzip": "true", "hide-headers": value,
                  "forwarded-for-header": value, "use-forwarded-headers": "true", "proxy-real-ip-cidr": value}},
        {"kind": "ConfigMap", "metadata": {"name": "tcp-services", "namespace": "ingress-nginx"},
         "data": {name: value, "9000": value, "9001": f"default/{name}:{value}"}},
    ]  # fmt: skip


def snapshot(
    make: Any, host: str, path: str, kind: str, annotations: dict[str, str], canary: bool, content: tuple[str, str]
) -> Snapshot:
    raws = [
        *make.classes(),
        make.ingress("i", (host, path, kind, "web"), annotations=annotations, tls={"s": [host]}),
        make.ingress("other", ("a.test", "/other", "Prefix", "web"), created="2026-02-01T00:00:00Z"),
        *make.service("web", ("10.0.0.1", 80)),
        *contents(*content),
    ]
    owned = next(raw for raw in raws if raw["metadata"]["name"] == "i")["metadata"]["annotations"]
    name, value = content
    owned |= {"fairway.dev/match": f"header {name or 'X-A'} = {value}; query q ~ {value or 'a|b'}; method = GET"}
    owned |= {"fairway.dev/regex-scope": "ingress", "fairway.dev/cache": value, "fairway.dev/maintenance": name}
    if canary:
        marked = {**annotations, "canary": "true"}
        raws.append(make.ingress("c", (host, path, kind, "web"), annotations=marked, created="2026-02-01T00:00:00Z"))
    return of_manifests(raws)


def check_lines(rendered: Rendered) -> None:
    found = files(rendered)
    for line in found["haproxy.cfg"].splitlines():
        skeleton = QUOTED.sub("Q", line.strip())
        ours = HEADS.match(line.strip()) and all(SKELETON.fullmatch(word) for word in skeleton.split(" "))
        assert line in FRAME or ours, line
    for name, text in found.items():
        if name.endswith(".map"):
            for line in text.splitlines():
                assert re.fullmatch(r"[!-~]+ [!-~]+", line, re.ASCII), (name, line)
                assert all(escape(word) for word in line.split(" "))


@settings(max_examples=300, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(HOSTS, PATHS, KINDS, ANNOTATIONS, st.booleans(), st.tuples(TEXT, TEXT))
def test_every_line_is_ours(
    make: Any,
    host: str,
    path: str,
    kind: str,
    annotations: dict[str, str],
    canary: bool,
    content: tuple[str, str],
) -> None:
    translation = translate(snapshot(make, host, path, kind, annotations, canary, content))
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
