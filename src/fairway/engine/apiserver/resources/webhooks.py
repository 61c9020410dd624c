"""Webhook configurations and admission policies: defaults and rules of admissionregistration.k8s.io/v1.

Nothing here calls webhooks or evaluates policies; what is stored is what a server that does would take.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from fairway.engine.apiserver.resources import causes, names, selectors
from fairway.engine.apiserver.resources.defaulting import fill, fill_numbers
from fairway.engine.apiserver.resources.kind import Cause, Object

_TIMEOUT_SECONDS, _TIMEOUT_SECONDS_MAX = 10, 30
_OPERATIONS = ("CREATE", "UPDATE", "DELETE", "CONNECT", "*")
_SCOPES = ("Cluster", "Namespaced", "*")
_FAILURE_POLICIES, _MATCH_POLICIES = ("Fail", "Ignore"), ("Equivalent", "Exact")
_ACTIONS = ("Audit", "Deny", "Warn")
_REVIEW_VERSIONS = ("v1", "v1beta1")
_SEGMENTS_MIN = 3


def default_validating(configuration: Object) -> None:
    """What a webhook does not say."""
    for webhook in configuration.get("webhooks") or ():
        _default_match(webhook)
        fill(webhook, "failurePolicy", "Fail")
        fill_numbers(webhook, {"timeoutSeconds": _TIMEOUT_SECONDS})
        service = (webhook.get("clientConfig") or {}).get("service")
        if service:
            fill_numbers(service, {"port": 443})


def default_mutating(configuration: Object) -> None:
    """As validating ones, and called once."""
    default_validating(configuration)
    for webhook in configuration.get("webhooks") or ():
        fill(webhook, "reinvocationPolicy", "Never")


def default_policy(policy: Object) -> None:
    """What a ValidatingAdmissionPolicy does not say."""
    spec = policy.get("spec")
    if not spec:
        return
    fill(spec, "failurePolicy", "Fail")
    if spec.get("matchConstraints") is not None:
        _default_match(spec["matchConstraints"])


def default_binding(binding: Object) -> None:
    """What the match of a ValidatingAdmissionPolicyBinding does not say."""
    resources = (binding.get("spec") or {}).get("matchResources")
    if resources is not None:
        _default_match(resources)


def _default_match(holder: Object) -> None:
    fill(holder, "matchPolicy", "Equivalent")
    for selector in ("namespaceSelector", "objectSelector"):
        if holder.get(selector) is None:
            holder[selector] = {}
    for key in ("rules", "resourceRules", "excludeResourceRules"):
        for rule in holder.get(key) or ():
            fill(rule, "scope", "*")


def validate(new: Object, old: Object | None) -> list[Cause]:
    """Rules of both kinds of webhook configurations."""
    found: list[Cause] = []
    seen: set[str] = set()
    for index, webhook in enumerate(new.get("webhooks") or ()):
        field, name = f"webhooks[{index}]", webhook.get("name") or ""
        if name in seen:
            found.append(causes.duplicate(f"{field}.name", name))
        seen.add(name)
        found += _webhook(webhook, field)
    return found


def _webhook(webhook: Object, field: str) -> list[Cause]:
    found = _qualified(webhook.get("name") or "", f"{field}.name")
    found += _review_versions(webhook.get("admissionReviewVersions") or (), f"{field}.admissionReviewVersions")
    found += _rules(webhook.get("rules") or (), f"{field}.rules")
    found += causes.one_of(f"{field}.failurePolicy", webhook.get("failurePolicy"), _FAILURE_POLICIES, needed=False)
    found += causes.one_of(f"{field}.matchPolicy", webhook.get("matchPolicy"), _MATCH_POLICIES, needed=False)
    found += causes.one_of(f"{field}.sideEffects", webhook.get("sideEffects"), ("None", "NoneOnDryRun"))
    policy = webhook.get("reinvocationPolicy")
    found += causes.one_of(f"{field}.reinvocationPolicy", policy, ("IfNeeded", "Never"), needed=False)
    seconds = webhook.get("timeoutSeconds")
    if seconds is not None and not 1 <= seconds <= _TIMEOUT_SECONDS_MAX:
        says = "the timeout value must be between 1 and 30 seconds"
        found.append(causes.invalid(f"{field}.timeoutSeconds", seconds, says))
    for selector in ("namespaceSelector", "objectSelector"):
        found += selectors.validate_selector(webhook.get(selector), f"{field}.{selector}")
    return found + _client(webhook.get("clientConfig") or {}, f"{field}.clientConfig")


def _qualified(name: str, field: str) -> list[Cause]:
    if not name:
        return [causes.required(field)]
    wrong = names.dns_subdomain(name)
    if wrong:
        return causes.invalid_each(field, name, wrong)
    if len(name.split(".")) < _SEGMENTS_MIN:
        return [causes.invalid(field, name, "should be a domain with at least three segments separated by dots")]
    return []


def _review_versions(versions: Iterable[str], field: str) -> list[Cause]:
    given = list(versions)
    if not given:
        return [causes.required(field, f"must specify one of {', '.join(_REVIEW_VERSIONS)}")]
    found = [causes.duplicate(f"{field}[{i}]", version) for i, version in enumerate(given) if version in given[:i]]
    for index, version in enumerate(given):
        found += causes.invalid_each(f"{field}[{index}]", version, names.dns_1035_label(version))
    if not found and not set(given) & set(_REVIEW_VERSIONS):
        found.append(causes.invalid(field, given, f"must include at least one of {', '.join(_REVIEW_VERSIONS)}"))
    return found


def _rules(rules: Iterable[Object], field: str) -> list[Cause]:
    found: list[Cause] = []
    for index, rule in enumerate(rules):
        found += _rule(rule, f"{field}[{index}]")
    return found


def _rule(rule: Object, field: str) -> list[Cause]:
    found: list[Cause] = []
    for key in ("operations", "apiGroups", "apiVersions", "resources"):
        given = rule.get(key) or []
        if not given:
            found.append(causes.required(f"{field}.{key}"))
        elif "*" in given and len(given) > 1 and key != "resources":
            what = {"operations": "operations", "apiGroups": "API groups", "apiVersions": "API versions"}[key]
            says = f"if '*' is present, must not specify other {what}"
            found.append(causes.invalid(f"{field}.{key}", given, says))
    for index, operation in enumerate(rule.get("operations") or ()):
        if operation not in _OPERATIONS:
            found.append(causes.unsupported(f"{field}.operations[{index}]", operation, sorted(_OPERATIONS)))
    return found + causes.one_of(f"{field}.scope", rule.get("scope"), tuple(sorted(_SCOPES)), needed=False)


def _client(config: Object, field: str) -> list[Cause]:
    url, service = config.get("url"), config.get("service")
    if (url is None) == (service is None):
        return [causes.required(field, "exactly one of url or service is required")]
    return _url(url, f"{field}.url") if service is None else _service(service, f"{field}.service")


def _url(url: str | None, field: str) -> list[Cause]:
    text = url or ""
    form = "; desired format: https://host[/path]"
    try:
        parts = urlsplit(text)
    except ValueError as error:
        return [causes.required(field, f"url must be a valid URL: {error}{form}")]
    found = []
    if parts.scheme != "https":
        says = f"'https' is the only allowed URL scheme{form}"
        found.append(causes.invalid(field, parts.scheme, says))
    if not parts.netloc:
        found.append(causes.invalid(field, parts.netloc, f"host must be specified{form}"))
    if parts.username is not None:
        found.append(causes.invalid(field, text, "user information is not permitted in the URL"))
    if parts.fragment:
        found.append(causes.invalid(field, parts.fragment, "fragments are not permitted in the URL"))
    if parts.query:
        found.append(causes.invalid(field, parts.query, "query parameters are not permitted in the URL"))
    return found


def _service(service: Object, field: str) -> list[Cause]:
    found = [
        causes.required(f"{field}.{key}", f"service {key} is required")
        for key in ("name", "namespace")
        if not service.get(key)
    ]
    path = service.get("path")
    if path and not path.startswith("/"):
        found.append(causes.invalid(f"{field}.path", path, "must start with a '/'"))
    port = service.get("port")
    if port is not None and names.port_number(port):
        says = "port is not valid: " + names.port_number(port)[0]
        found.append(causes.invalid(f"{field}.port", port, says))
    return found


def validate_policy(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a ValidatingAdmissionPolicy, but for its expressions."""
    spec = new.get("spec") or {}
    found = causes.one_of("spec.failurePolicy", spec.get("failurePolicy"), _FAILURE_POLICIES)
    kind = spec.get("paramKind")
    if kind is not None:
        found += [causes.required(f"spec.paramKind.{key}") for key in ("apiVersion", "kind") if not kind.get(key)]
    constraints = spec.get("matchConstraints")
    if constraints is None:
        found.append(causes.required("spec.matchConstraints"))
    else:
        found += _match(constraints, "spec.matchConstraints")
        if not constraints.get("resourceRules"):
            found.append(causes.required("spec.matchConstraints.resourceRules"))
    validations, annotations = spec.get("validations") or (), spec.get("auditAnnotations") or ()
    if not validations and not annotations:
        says = "validations or auditAnnotations must contain at least one item"
        found += [causes.required("spec.validations", says), causes.required("spec.auditAnnotations", says)]
    for index, validation in enumerate(validations):
        if not (validation.get("expression") or "").strip():
            found.append(causes.required(f"spec.validations[{index}].expression", "expression is not specified"))
    return found


def validate_binding(new: Object, old: Object | None) -> list[Cause]:
    """Rules of a ValidatingAdmissionPolicyBinding."""
    spec = new.get("spec") or {}
    found = [] if spec.get("policyName") else [causes.required("spec.policyName")]
    found += _parameters(spec.get("paramRef"), "spec.paramRef")
    found += _match(spec.get("matchResources") or {}, "spec.matchResources")
    actions = spec.get("validationActions") or []
    if not actions:
        found.append(causes.required("spec.validationActions", "at least one validation action is required"))
    for index, action in enumerate(actions):
        if action not in _ACTIONS:
            found.append(causes.unsupported(f"spec.validationActions[{index}]", action, _ACTIONS))
        if action in actions[:index]:
            found.append(causes.duplicate(f"spec.validationActions[{index}]", action))
    if "Deny" in actions and "Warn" in actions:
        says = "must not contain both Deny and Warn (repeating the same validation failure information in the API "
        says += "response and headers serves no purpose)"
        found.append(causes.invalid("spec.validationActions", actions, says))
    return found


def _match(resources: Object, field: str) -> list[Cause]:
    found = causes.one_of(f"{field}.matchPolicy", resources.get("matchPolicy"), _MATCH_POLICIES, needed=False)
    for selector in ("namespaceSelector", "objectSelector"):
        found += selectors.validate_selector(resources.get(selector), f"{field}.{selector}")
    for key in ("resourceRules", "excludeResourceRules"):
        found += _rules(resources.get(key) or (), f"{field}.{key}")
    return found


def _parameters(reference: Object | None, field: str) -> list[Cause]:
    if reference is None:
        return []
    found = []
    if bool(reference.get("name")) == (reference.get("selector") is not None):
        says = "one of name or selector must be specified"
        given = bool(reference.get("name"))
        found.append(
            causes.forbidden(f"{field}.name", "name and selector are mutually exclusive")
            if given
            else causes.required(field, says)
        )
    found += selectors.validate_selector(reference.get("selector"), f"{field}.selector")
    action = reference.get("parameterNotFoundAction")
    return found + causes.one_of(f"{field}.parameterNotFoundAction", action, ("Allow", "Deny"))
