"""Ingresses as people write them for well-known applications: what lint says of them, and a request through each."""

from typing import Any

import pytest

from fairway.edge.lint import lint_snapshot
from fairway.edge.snapshot import of_manifests

# name: (annotations, path, pathType, what is asked, the path that the server sees or the status that the client gets)
APPLICATIONS: dict[str, tuple[dict[str, str], str, str, str, str | int]] = {
    "grafana": (
        {"rewrite-target": "/$1", "use-regex": "true"},
        "/grafana/?(.*)",
        "ImplementationSpecific",
        "/grafana/d/home?orgId=1",
        "/d/home?orgId=1",
    ),
    "harbor": (
        {"proxy-body-size": "0", "ssl-redirect": "true"},
        "/v2/",
        "Prefix",
        "/v2/library/x/blobs/",
        "/v2/library/x/blobs/",
    ),
    "gitlab": (
        {
            "proxy-body-size": "512m",
            "proxy-read-timeout": "3600",
            "service-upstream": "false",
            "proxy-buffering": "off",
            "proxy-request-buffering": "off",
        },
        "/",
        "Prefix",
        "/-/health",
        "/-/health",
    ),
    "nextcloud": (
        {
            "proxy-body-size": "4G",
            "enable-cors": "true",
            "cors-allow-headers": "X-Forwarded-For",
            "server-snippet": "proxy_hide_header X-Powered-By;",
        },
        "/",
        "Prefix",
        "/remote.php/dav",
        "/remote.php/dav",
    ),
    "argocd": (
        {"force-ssl-redirect": "true", "ssl-passthrough": "true", "backend-protocol": "HTTPS"},
        "/",
        "Prefix",
        "/",
        308,
    ),
    "argocd-grpc": ({"backend-protocol": "GRPC"}, "/", "Prefix", "/", 503),
    "jenkins": (
        {"proxy-body-size": "50m", "proxy-request-buffering": "off", "app-root": "/jenkins"},
        "/jenkins",
        "Prefix",
        "/jenkins/job/a%2Fb/",
        "/jenkins/job/a%2Fb/",
    ),
    "keycloak": (
        {"proxy-buffer-size": "128k", "proxy-buffers-number": "4", "proxy-busy-buffers-size": "256k"},
        "/realms",
        "Prefix",
        "/realms/x",
        "/realms/x",
    ),
    "rancher": (
        {"proxy-connect-timeout": "30", "proxy-read-timeout": "1800", "proxy-send-timeout": "1800"},
        "/",
        "ImplementationSpecific",
        "/v3/connect",
        "/v3/connect",
    ),
    "wordpress": (
        {"proxy-body-size": "64m", "from-to-www-redirect": "true", "limit-rps": "50", "limit-connections": "20"},
        "/",
        "Prefix",
        "/wp-login.php",
        "/wp-login.php",
    ),
    "minio": (
        {"proxy-body-size": "0", "client-body-buffer-size": "1m", "proxy-http-version": "1.1"},
        "/",
        "Prefix",
        "/bucket/key%20name",
        "/bucket/key%20name",
    ),
    "sonarqube": (
        {"proxy-body-size": "8m", "proxy-read-timeout": "90"},
        "/sonar",
        "ImplementationSpecific",
        "/sonar/api",
        "/sonar/api",
    ),
    "prometheus": (
        {"auth-type": "basic", "auth-secret": "users", "auth-realm": "Authentication Required - ops"},
        "/",
        "Prefix",
        "/graph",
        401,
    ),
    "behind-oauth2-proxy": (
        {
            "auth-url": "https://$host/oauth2/auth",
            "auth-response-headers": "X-Auth-Request-User",
            "auth-signin": "https://$host/oauth2/start?rd=$escaped_request_uri",
        },
        "/",
        "Prefix",
        "/",
        500,
    ),
    "vault": ({"backend-protocol": "HTTPS", "proxy-ssl-verify": "off"}, "/", "Prefix", "/v1/sys/health", 503),
    "mattermost": (
        {
            "configuration-snippet": "proxy_set_header X-Frame-Options SAMEORIGIN;\nmore_clear_headers Server;",
            "proxy-body-size": "50m",
        },
        "/",
        "Prefix",
        "/api/v4/websocket",
        "/api/v4/websocket",
    ),
    "gitea": (
        {"proxy-body-size": "100m", "whitelist-source-range": "127.0.0.0/8,10.0.0.0/8"},
        "/",
        "Prefix",
        "/u/r.git",
        "/u/r.git",
    ),
    "nexus": (
        {"proxy-body-size": "1024m", "upstream-vhost": "nexus.internal"},
        "/",
        "Prefix",
        "/repository/",
        "/repository/",
    ),
    "kibana": ({"rewrite-target": "/"}, "/kibana", "Prefix", "/kibana", "/"),
    "dashboard": (
        {
            "backend-protocol": "HTTP",
            "rewrite-target": "/$2",
            "configuration-snippet": "rewrite ^(/dashboard)$ $1/ redirect;",
        },
        "/dashboard(/|$)(.*)",
        "ImplementationSpecific",
        "/dashboard/a?b=c",
        "/a?b=c",
    ),
    "rabbitmq": (
        {
            "affinity": "cookie",
            "session-cookie-name": "route",
            "session-cookie-expires": "172800",
            "session-cookie-max-age": "172800",
        },
        "/",
        "Prefix",
        "/api/queues/%2F/q",
        "/api/queues/%2F/q",
    ),
    "airflow": ({"proxy-redirect-from": "http://", "proxy-redirect-to": "https://"}, "/", "Prefix", "/home", "/home"),
    "sentry": (
        {"limit-rpm": "600", "limit-burst-multiplier": "3", "proxy-next-upstream": "error timeout http_502"},
        "/api/0/store/",
        "Prefix",
        "/api/0/store/",
        "/api/0/store/",
    ),
    "longhorn": (
        {"auth-type": "basic", "auth-secret": "users", "custom-http-errors": "503", "default-backend": "web"},
        "/",
        "Prefix",
        "/",
        401,
    ),
    "phpmyadmin": ({"denylist-source-range": "127.0.0.1/32"}, "/", "Prefix", "/", 403),
    "old-blog": ({"permanent-redirect": "https://blog.example.org$request_uri"}, "/", "Prefix", "/post?id=1", 301),
    "metrics-api": ({"enable-modsecurity": "true"}, "/", "Prefix", "/m", "/m"),
}
SAID = {
    "nextcloud": {"partial"},
    "metrics-api": {"refused"},
}
"""Where lint says more than that all is obeyed or has nothing to do."""

USERS = {
    "kind": "Secret",
    "type": "Opaque",
    "metadata": {"name": "users", "namespace": "default"},
    "data": {"auth": "dTokYXByMSRyMzEuLi4uLiRIcUpaaW1jS1FGQU1ZYXlCbHprckEv"},
}


def ingress(make: Any, name: str) -> dict[str, Any]:
    annotations, path, kind, _, _ = APPLICATIONS[name]
    found: dict[str, Any] = make.ingress(name, (f"{name}.test", path, kind, "web"), annotations=annotations)
    found["spec"]["ingressClassName"] = "nginx"
    return found


@pytest.mark.parametrize("name", APPLICATIONS)
def test_lint_has_no_surprises(make: Any, name: str) -> None:
    web = make.service("web", ("10.0.0.1", 80))
    levels = {one.level for one in lint_snapshot(of_manifests([*make.classes(), ingress(make, name), *web, USERS]))}
    beyond = levels - {"native", "harmless"}
    assert beyond == SAID.get(name, set()), beyond


async def test_each_of_them_answers_beside_the_others(edge: Any, make: Any, pods: Any) -> None:
    await edge.apply(
        [*(ingress(make, name) for name in APPLICATIONS), USERS, *make.service("web", await pods("web").start())]
    )
    found = {}
    for name, (_, _, _, asked, wanted) in APPLICATIONS.items():
        answer = await edge.get(f"{name}.test{asked}")
        found[name] = answer.path if isinstance(wanted, str) and answer.status == 200 else answer.status
    assert found == {name: row[4] for name, row in APPLICATIONS.items()}
