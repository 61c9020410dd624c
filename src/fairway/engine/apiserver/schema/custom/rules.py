"""The CEL rules of a schema (`x-kubernetes-validations`): evaluated on every write.

KEP-2876. Cost is bounded before a rule runs: loops nested d deep over lists and maps of at most n take n**d steps.
"""

import re
from typing import Any, Final

from msgspec import Struct

from fairway.engine.apiserver.schema.check import REQUIRED, WRONG_TYPE, Cause
from fairway.engine.apiserver.schema.custom import causes
from fairway.engine.apiserver.schema.custom.functions import FUNCTIONS
from fairway.engine.apiserver.schema.custom.node import UNSET, Node, Raw
from fairway.engine.apiserver.schema.custom.rewriting import rewrite, shape, uses
from fairway.engine.apiserver.schema.custom.rule_values import typed, widest
from fairway.toolkit import expressions

_STEPS_PER_RULE: Final = 1_000_000
_STEPS_PER_OBJECT: Final = 10_000_000
_OUT_OF_BUDGET: Final = "validation failed due to running out of cost budget, no further validation rules will be run"
_NOT_RUN: Final = (
    "some validation rules were not checked because the object was invalid; "
    "correct the existing errors to complete validation"
)
# Causes after which rules are not run, because they could not trust the types of what they see.
_BLOCKING: Final = frozenset({WRONG_TYPE, REQUIRED, causes.TOO_LONG, causes.TOO_MANY, causes.UNSUPPORTED})


class Rule(Struct, frozen=True, eq=False):
    """One rule, compiled."""

    source: str
    program: expressions.Program
    message: str
    message_program: expressions.Program | None
    reason: str
    field_path: str
    transition: bool
    optional_old: bool
    depth: int


class Rules(Struct, frozen=True, eq=False):
    """The rules of a node and of what is below it; only nodes that lead to a rule are kept."""

    node: Node
    rules: tuple[Rule, ...] = ()
    fields: dict[str, "Rules"] = {}
    values: "Rules | None" = None
    items: "Rules | None" = None

    def check(self, value: Any, old: Any, before: list[Cause]) -> list[Cause]:
        """The causes of an object that has the causes `before` by its schema; `old` is UNSET when it is new."""
        if any(cause.reason in _BLOCKING for cause in before):
            return [causes.invalid(causes.NOWHERE, "null", _NOT_RUN)]
        run = _Run()
        try:
            run.visit(self, value, old, "", root=True)
        except _OutOfBudgetError:
            run.found.append(causes.forbidden(causes.NOWHERE, _OUT_OF_BUDGET))
        return run.found


def compile_rules(node: Node) -> Rules | None:
    """None when there is no rule anywhere.  Raises ValueError for a rule that is not CEL."""
    fields = {name: rules for name, field in node.fields.items() if (rules := compile_rules(field))}
    values = compile_rules(node.values) if node.values is not None else None
    items = compile_rules(node.items) if node.items is not None else None
    own = tuple(_rule(raw) for raw in node.rules)
    return Rules(node, own, fields, values, items) if own or fields or values or items else None


def _rule(raw: Raw) -> Rule:
    source = str(raw.get("rule") or "")
    message = raw.get("messageExpression")
    return Rule(
        source=source.strip(),
        program=expressions.compile_expression(rewrite(source)),
        message=str(raw.get("message") or "").strip(),
        message_program=expressions.compile_expression(rewrite(message)) if message else None,
        reason=str(raw.get("reason") or causes.INVALID),
        field_path=str(raw.get("fieldPath") or ""),
        transition=uses(source, "oldSelf"),
        optional_old=bool(raw.get("optionalOldSelf")),
        depth=shape(source).depth,
    )


class _OutOfBudgetError(Exception):
    pass


class _Run:
    """One evaluation of all rules on one object."""

    def __init__(self) -> None:
        self.found: list[Cause] = []
        self._steps = 0

    def visit(self, rules: Rules, value: Any, old: Any, path: str, *, root: bool = False) -> None:
        if value is None:
            return
        if rules.rules:
            self._evaluate(rules, value, old, path, root)
        if isinstance(value, dict):
            self._members(rules, value, old if isinstance(old, dict) else {}, path)
        elif isinstance(value, list) and rules.items is not None:
            before = _correlated(rules.node, old)
            for index, item in enumerate(value):
                self.visit(rules.items, item, before.get(_key(rules.node, item), UNSET), f"{path}[{index}]")

    def _members(self, rules: Rules, value: dict[str, Any], old: dict[str, Any], path: str) -> None:
        for key, item in value.items():
            inner = rules.fields.get(key)
            if inner is not None:
                self.visit(inner, item, old.get(key, UNSET), f"{path}.{key}" if path else key)
            elif rules.values is not None and key not in rules.node.fields:
                self.visit(rules.values, item, old.get(key, UNSET), f"{path}[{key}]")

    def _evaluate(self, rules: Rules, value: Any, old: Any, path: str, root: bool) -> None:
        node = rules.node
        known = old is not UNSET and old is not None
        same = known and old == value
        shown = typed(node, value, root=root)
        before = typed(node, old, root=root) if known else None
        for rule in rules.rules:
            if rule.transition and not known and not rule.optional_old:
                continue
            if same and not rule.transition:
                continue
            self._spend(rule, shown)
            variables = {"self": shown}
            if rule.optional_old:
                variables["oldSelf"] = expressions.some(before) if known else expressions.nothing()
            elif known:
                variables["oldSelf"] = before
            self._judge(rule, node, expressions.context(variables, FUNCTIONS), path)

    def _spend(self, rule: Rule, value: Any) -> None:
        steps = widest(value) ** rule.depth if rule.depth else 1
        self._steps += steps
        if steps > _STEPS_PER_RULE or self._steps > _STEPS_PER_OBJECT:
            raise _OutOfBudgetError

    def _judge(self, rule: Rule, node: Node, context: Any, path: str) -> None:
        detail = ""
        try:
            verdict = rule.program.execute(context)
        except Exception as error:  # the library's errors are of many builtin types; each is the rule's own failure
            detail = f"{_evaluation(error)} evaluating rule: {rule.message or rule.source}"
        else:
            if verdict is True:
                return
        at = _joined(path, rule.field_path)
        self.found.append(_refusal(rule, node, at, detail or _message(rule, context)))


def _message(rule: Rule, context: Any) -> str:
    if rule.message_program is not None:
        try:
            text = rule.message_program.execute(context)
        except Exception:  # a message that cannot be made is replaced by the fixed one, as upstream does
            text = ""
        if isinstance(text, str) and text.strip() and "\n" not in text.strip():
            return text.strip()
    return rule.message or f"failed rule: {rule.source}"


def _refusal(rule: Rule, node: Node, path: str, detail: str) -> Cause:
    kind = node.type or "object"
    match rule.reason:
        case "FieldValueRequired":
            return causes.required(path, detail)
        case "FieldValueForbidden":
            return causes.forbidden(path, detail)
        case "FieldValueDuplicate":
            return causes.duplicate(path, kind)
    return causes.invalid(path, kind, detail)


def _joined(path: str, field_path: str) -> str:
    return (path + field_path if path else field_path.removeprefix(".")) or causes.NOWHERE


def _evaluation(error: Exception) -> str:
    """An error of the library in cel-go's words."""
    if isinstance(error, KeyError):
        return f"no such key: {str(error.args[0]).strip(chr(39))}"
    if isinstance(error, TypeError):
        return "no such overload"
    if isinstance(error, ZeroDivisionError):
        return "division by zero"
    text = str(error)
    match = re.search(r"Python function call failed: \w+: (.*)\. Check function", text)
    return match[1] if match else text.partition(". Check")[0]


def _key(node: Node, item: Any) -> str:
    if node.list_type != "map" or not isinstance(item, dict):
        return ""
    return causes.shown([item.get(name) for name in node.list_keys])


def _correlated(node: Node, old: Any) -> dict[str, Any]:
    if node.list_type != "map" or not isinstance(old, list):
        return {}
    return {_key(node, item): item for item in old if isinstance(item, dict)}
