"""Label selectors, in both forms."""

import pytest

from fairway.kube.api import selectors
from fairway.kube.api.meta import LabelSelector, LabelSelectorRequirement

WEB = {"app": "web", "tier": "front", "example.com/team": "a"}


@pytest.mark.parametrize(
    ("text", "labels", "matches"),
    [
        ("", {}, True),
        ("app=web", WEB, True),
        ("app==web", WEB, True),
        ("app=api", WEB, False),
        ("app!=api", WEB, True),
        ("missing!=x", WEB, True),
        ("app in (web, api),tier notin (back)", WEB, True),
        ("tier notin (front)", WEB, False),
        ("missing notin (x)", WEB, True),
        ("app", WEB, True),
        ("!app", WEB, False),
        ("!missing", WEB, True),
        ("example.com/team=a", WEB, True),
        ("app=", {"app": ""}, True),
    ],
)
def test_text_selectors_match_as_kubectl_expects(text: str, labels: dict[str, str], matches: bool) -> None:
    assert selectors.parse(text).matches(labels) is matches


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a=b=c", "found '=', expected: ',' or 'end of string'"),
        ("a b", "unable to parse requirement: found 'b', expected: in, notin, =, ==, !=, gt, lt"),
        ("a IN (b)", "unable to parse requirement: found 'IN', expected: in, notin, =, ==, !=, gt, lt"),
        ("in (a)", "unable to parse requirement: found '(', expected: in, notin, =, ==, !=, gt, lt"),
        ("app in web", "unable to parse requirement: found 'web' expected: '('"),
        ("app in (web", "unable to parse requirement: found '', expected: ',' or ')'"),
        ("a===b", "unable to parse requirement: found '=', expected: identifier"),
        ("!", "unable to parse requirement: found '', expected: identifier"),
        ("!a=b", "found '=', expected: ',' or 'end of string'"),
        ("=x", "found '=', expected: !, identifier, or 'end of string'"),
        ("a=b,=x", "found '=', expected: identifier after ','"),
        ("app~web", 'unable to parse requirement: "app~web"'),
        ("a=-b", 'unable to parse requirement: "a=-b"'),
    ],
)
def test_what_cannot_be_read_is_named(text: str, message: str) -> None:
    with pytest.raises(ValueError) as refused:
        selectors.parse(text)
    assert str(refused.value) == message


def test_text_of_a_selector_reads_back_as_the_same() -> None:
    selector = selectors.parse("app=web,tier in (a,b),x notin (y),!old,new")
    assert selectors.parse(str(selector)) == selector


def test_object_selectors_join_labels_and_expressions() -> None:
    selector = selectors.from_object(
        LabelSelector(
            match_labels={"app": "web"},
            match_expressions=(LabelSelectorRequirement(key="tier", operator="In", values=("front",)),),
        )
    )
    assert selector.matches(WEB)
    assert not selector.matches({"app": "web", "tier": "back"})


def test_an_unknown_operator_is_refused() -> None:
    with pytest.raises(ValueError, match='"Like" is not a valid label selector operator'):
        selectors.from_object(LabelSelector(match_expressions=(LabelSelectorRequirement(key="a", operator="Like"),)))
