"""One Ingress by itself: what it wants, before anybody else is asked."""

import msgspec

from fairway.edge.ir import ANY_HOST, PLAIN, PathKind, Problem, Profile
from fairway.edge.translate import annotations, checks
from fairway.edge.translate import profile as profiles
from fairway.edge.translate.checks import Refused
from fairway.edge.translate.references import ServiceRef as ServiceRef
from fairway.edge.translate.settings import Settings
from fairway.kube.api.ingresses import HttpIngressPath, Ingress, IngressBackend, IngressTls
from fairway.kube.api.meta import ObjectKey

_KINDS = {
    "Exact": PathKind.EXACT,
    "Prefix": PathKind.PREFIX,
    "ImplementationSpecific": PathKind.STRING,
    "": PathKind.STRING,
}


class Rule(msgspec.Struct, frozen=True):
    """A host, a path and where it leads; None where the Ingress only redirects."""

    host: str
    path: str
    kind: PathKind
    service: ServiceRef | None


class Tls(msgspec.Struct, frozen=True):
    """Hosts and the Secret that should serve them."""

    hosts: tuple[str, ...]
    secret: ObjectKey


class Part(msgspec.Struct, frozen=True):
    """All of one Ingress. `helpers` are backends that are asked besides those of the rules."""

    owner: ObjectKey
    settings: Settings = Settings()
    profile: Profile = PLAIN
    helpers: tuple[tuple[ServiceRef, Profile], ...] = ()
    rules: tuple[Rule, ...] = ()
    default: ServiceRef | None = None
    tls: tuple[Tls, ...] = ()

    @property
    def regex(self) -> bool:
        """Whether it makes its hosts compare every path as an expression (ingress-nginx, `enforceRegexModifier`)."""
        return any(rule.kind is PathKind.REGEX for rule in self.rules)

    @property
    def own_hosts(self) -> tuple[str, ...]:
        """The hosts of its rules."""
        return tuple(dict.fromkeys(rule.host for rule in self.rules))

    @property
    def hosts(self) -> tuple[str, ...]:
        """Every host that it can have a say in: also aliases, and the one with or without www."""
        twins = [twin(host) for host in self.own_hosts] if self.settings.from_to_www_redirect else []
        return tuple(dict.fromkeys((*self.own_hosts, *self.settings.server_alias, *filter(None, twins))))


def twin(host: str) -> str:
    """The same host with or without www; "" for those that have none."""
    if host == ANY_HOST or host.startswith("*."):
        return ""
    return host.removeprefix("www.") if host.startswith("www.") else f"www.{host}"


def read(ingress: Ingress) -> tuple[Part, tuple[Problem, ...]]:
    """The part, and what is wrong with it; what is wrong is left out."""
    return _Reader(ingress).read()


class _Reader:
    """Collects the problems of one Ingress on the way through it."""

    def __init__(self, ingress: Ingress) -> None:
        self._ingress = ingress
        self._key = ingress.metadata.key
        self._problems: list[Problem] = []

    def read(self) -> tuple[Part, tuple[Problem, ...]]:
        spec = self._ingress.spec
        reading = annotations.read(self._ingress.metadata.annotations, self._key)
        settings = reading.settings
        for error in reading.refused:
            self._refuse("InvalidAnnotation", error)
        for reason, message in reading.warnings:
            self._warn(reason, message)
        if settings.custom_http_errors and not settings.default_backend:
            self._warn("PartialAnnotation", "annotation custom-http-errors needs default-backend on the same Ingress")
        rules = tuple(
            self._rule(rule.host, path, settings)
            for rule in spec.rules
            for path in (rule.http.paths if rule.http else (HttpIngressPath(path="/", path_type="Prefix"),))
        )
        found = tuple(rule for rule in rules if rule is not None)
        default = self._service(spec.default_backend, "spec.defaultBackend") if spec.default_backend else None
        part = Part(self._key, settings, profiles.profile(settings), profiles.helpers(settings), found, default)
        self._check(part, spec.tls)
        return msgspec.structs.replace(part, tls=self._tls(spec.tls, part.own_hosts)), tuple(self._problems)

    def _check(self, part: Part, tls: tuple[IngressTls, ...]) -> None:
        """What only shows when settings and rules are seen together."""
        settings = part.settings
        if settings.auth_type and not settings.auth_secret:
            self._refuse("InvalidAnnotation", "annotation auth-type needs auth-secret; nobody is let in meanwhile")
        if settings.auth_tls_secret and not any(entry.secret_name for entry in tls):
            self._warn("ClientCertificateWithoutTls", "annotation auth-tls-secret needs spec.tls with a Secret")
        if settings.match and part.regex and "$" in settings.rewrite_target:
            self._refuse("InvalidAnnotation", "annotation fairway.dev/match cannot go with groups in rewrite-target")
        for name in ("rewrite_target", *(("temporal_redirect",) if settings.redirect else ())):
            text = getattr(settings, name).removesuffix("$request_uri")
            if "$" in text and not part.regex and part.rules:
                self._warn("NoGroups", f"annotation {name.replace('_', '-')} has groups, but no path is an expression")

    def _rule(self, host: str, path: HttpIngressPath, settings: Settings) -> Rule | None:
        try:
            name = checks.host(host) if host else ANY_HOST
            kind = _KINDS.get(path.path_type, PathKind.STRING)
            text = path.path or "/"
            if settings.use_regex or settings.rewrite_target not in ("", text):
                kind = PathKind.REGEX
            checks.regex(text) if kind is PathKind.REGEX else checks.path(text)
        except Refused as error:
            self._refuse("InvalidRule", error)
            return None
        service = None if settings.redirect else self._service(path.backend, f"path {text} of host {name}")
        if service is None and not settings.redirect and path.backend != IngressBackend():
            return None
        return Rule(name, text, kind, service)

    def _service(self, backend: IngressBackend, where: str) -> ServiceRef | None:
        if backend.resource is not None:
            self._refuse("ResourceBackend", f"{where} names a resource backend; only Services are supported")
        if backend.service is None:
            return None
        port = backend.service.port
        return ServiceRef(self._key.namespace, backend.service.name, port.name or port.number)

    def _tls(self, entries: tuple[IngressTls, ...], rule_hosts: tuple[str, ...]) -> tuple[Tls, ...]:
        found = []
        for entry in entries:
            if not entry.secret_name:
                continue  # the default certificate, as the API says
            hosts = tuple(host for text in entry.hosts if (host := self._tls_host(text)))
            hosts = hosts or tuple(host for host in rule_hosts if host != ANY_HOST)
            found.append(Tls(hosts, ObjectKey(self._key.namespace, entry.secret_name)))
        return tuple(found)

    def _tls_host(self, text: str) -> str:
        try:
            return checks.host(text)
        except Refused as error:
            self._refuse("InvalidRule", f"spec.tls: {error}")
            return ""

    def _refuse(self, reason: str, message: object) -> None:
        self._problems.append(Problem(self._key, reason, str(message), refused=True))

    def _warn(self, reason: str, message: str) -> None:
        self._problems.append(Problem(self._key, reason, message))
