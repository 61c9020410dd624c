"""What is wrong with the CEL rules that a CRD brings: found when it is created, not when they first run."""

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from fairway.engine.apiserver.schema.check import Cause
from fairway.engine.apiserver.schema.custom import causes
from fairway.engine.apiserver.schema.custom.functions import FUNCTIONS
from fairway.engine.apiserver.schema.custom.node import META_FIELDS, Raw
from fairway.engine.apiserver.schema.custom.rewriting import NAMESPACES, Token, rewrite, shape, tokens, uses
from fairway.engine.apiserver.schema.custom.rule_values import escaped
from fairway.toolkit import expressions

_REASONS: Final = ("FieldValueRequired", "FieldValueForbidden", "FieldValueInvalid", "FieldValueDuplicate")
_TYPES: Final = frozenset(
    (
        "int",
        "uint",
        "double",
        "bool",
        "string",
        "bytes",
        "list",
        "map",
        "null_type",
        "type",
        "dyn",
        "google",
        "optional",
        "cel",
    )
)


def faults_of_rules(raw: Raw, path: str, uncorrelated: str = "") -> Iterator[Cause]:
    """What is wrong with the rules of a sound schema; `uncorrelated` is where old and new values stop to match."""
    for index, rule in enumerate(raw.get("x-kubernetes-validations") or ()):
        where = f"{path}.x-kubernetes-validations[{index}]"
        yield from _faults_of_rule(raw, rule, where)
        source = str(rule.get("rule") or "")
        if uncorrelated and uses(source, "oldSelf"):
            says = f"oldSelf cannot be used on the uncorrelatable portion of the schema within {uncorrelated}"
            yield causes.invalid(f"{where}.rule", source, says)
    for name, field in (raw.get("properties") or {}).items():
        inside = uncorrelated or (path if raw.get("x-kubernetes-map-type") == "atomic" else "")
        yield from faults_of_rules(field, f"{path}.properties[{name}]", inside)
    for key, by_key in (
        ("items", raw.get("x-kubernetes-list-type") == "map"),
        ("additionalProperties", raw.get("x-kubernetes-map-type") != "atomic"),
    ):
        if isinstance(raw.get(key), dict):
            inside = uncorrelated or ("" if by_key else f"{path}.{key}")
            yield from faults_of_rules(raw[key], f"{path}.{key}", inside)


def _faults_of_rule(schema: Raw, rule: Mapping[str, Any], path: str) -> Iterator[Cause]:
    source, message = str(rule.get("rule") or ""), str(rule.get("message") or "")
    if not source.strip():
        yield causes.required(f"{path}.rule", "rule is not specified")
        return
    if rule.get("message") is not None and not message.strip():
        yield causes.invalid(f"{path}.message", message, "message must be non-empty if specified")
    if "\n" in message.strip():
        yield causes.invalid(f"{path}.message", message, "message must not contain line breaks")
    if "\n" in source.strip() and not message:
        yield causes.required(f"{path}.message", "message must be specified if rule contains line breaks")
    if rule.get("reason") and rule["reason"] not in _REASONS:
        yield causes.unsupported(f"{path}.reason", rule["reason"], _REASONS)
    expression, place = rule.get("messageExpression"), rule.get("fieldPath")
    if expression is not None and not str(expression).strip():
        yield causes.required(f"{path}.messageExpression", "must be non-empty if specified")
    if place and not _leads_somewhere(schema, str(place)):
        yield causes.invalid(f"{path}.fieldPath", place, "fieldPath must be a valid path")
    if rule.get("optionalOldSelf") and not uses(source, "oldSelf"):
        says = "may not be set if oldSelf is not used in rule"
        yield causes.invalid(f"{path}.optionalOldSelf", True, says)
    for key in ("rule", "messageExpression"):
        text = rule.get(key)
        why = _uncompilable(schema, str(text)) if text and str(text).strip() else ""
        if why:
            yield causes.invalid(f"{path}.{key}", text, f"compilation failed: {why}")


_STEP: Final = re.compile(r"\.([A-Za-z_][\w-]*)|\['((?:[^'\\]|\\.)+)'\]")


def _leads_somewhere(schema: Raw, place: str) -> bool:
    """Whether a path like `.a['b']` names a field below a schema; lists cannot be entered."""
    inner: Raw | None = schema
    at = 0
    while at < len(place):
        step = _STEP.match(place, at)
        if step is None or inner is None:
            return False
        name = step[1] or step[2].replace("\\'", "'")
        values = inner.get("additionalProperties")
        inner = (inner.get("properties") or {}).get(name) or (values if isinstance(values, dict) else None)
        at = step.end()
    return inner is not None


def _uncompilable(schema: Raw, source: str) -> str:
    """Why an expression cannot be compiled against a schema, or an empty string."""
    try:
        program = expressions.compile_expression(rewrite(source))
    except ValueError as error:
        return str(error)
    known = {"self", "oldSelf", *_TYPES, *NAMESPACES, *shape(source).bound}
    for name in program.variables():
        if name not in known:
            return f"ERROR: <input>: undeclared reference to '{name}' (in container '')"
    for name in program.functions():
        if re.fullmatch(r"\w+", name) and name not in _BUILT_IN and name not in FUNCTIONS:
            shown = name.removeprefix("__").replace("_", ".")
            return f"ERROR: <input>: undeclared reference to '{shown}' (in container '')"
    wrong = _undefined_field(schema, tokens(source))
    return f"ERROR: <input>: undefined field '{wrong}'" if wrong else ""


_BUILT_IN: Final = frozenset(
    (
        *("has", "all", "exists", "exists_one", "map", "filter", "matches", "startsWith"),
        *("endsWith", "contains", "int", "uint", "double", "bytes", "bool", "duration"),
        *("timestamp", "type", "dyn", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"),
        *("getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds", "hasValue", "value", "orValue"),
        *("or", "of", "none", "ofNonZeroValue", "size", "string"),
    )
)


def _undefined_field(schema: Raw, parts: list[Token]) -> str:
    """The first member of `self` or `oldSelf` that the schema does not have."""
    for index, token in enumerate(parts):
        starts = token.text in ("self", "oldSelf") and (not index or parts[index - 1].text not in (".", ".?"))
        if starts:
            wrong = _walk(schema, parts, index + 1)
            if wrong:
                return wrong
    return ""


def _walk(schema: Raw, parts: list[Token], index: int) -> str:
    root = schema
    while index + 1 < len(parts) and parts[index].text in (".", ".?") and parts[index + 1].kind == "name":
        name = parts[index + 1].text
        called = index + 2 < len(parts) and parts[index + 2].text == "("
        fields = {escaped(field): inner for field, inner in (schema.get("properties") or {}).items()}
        if called or schema.get("type") != "object" or schema.get("x-kubernetes-preserve-unknown-fields"):
            return ""
        if isinstance(schema.get("additionalProperties"), dict) or (schema is root and name in META_FIELDS):
            return ""
        if name not in fields:
            return name
        schema, index = fields[name], index + 2
    return ""
