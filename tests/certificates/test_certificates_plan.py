"""What is done about a Secret."""

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from fairway.certificates.order import Order
from fairway.certificates.plan import Issue, Remove, Step, Wait, annotations, plan
from fairway.kube.api import noun
from fairway.kube.api.config import Secret
from fairway.kube.api.meta import ObjectKey

NOW = datetime(2026, 11, 20, tzinfo=UTC)
KEY = ObjectKey("shop", "site-tls")
HOSTS = ("a.test", "b.test")
AUTHORITY = "ab" * 32
ASKED = Order(KEY, HOSTS)
NOBODY = Order(KEY)


def secret(**more: Any) -> Secret:
    notes = annotations(HOSTS, "Q0VSVA==", AUTHORITY, NOW + timedelta(days=60), NOW + timedelta(days=90))
    notes |= more.get("notes", {})
    raw = {
        "type": more.get("type", "kubernetes.io/tls"),
        "metadata": {
            "name": KEY.name,
            "namespace": KEY.namespace,
            "uid": "u1",
            "resourceVersion": "7",
            "labels": more.get("labels", {"certificates.fairway.dev/issuer": "internal"}),
            "annotations": notes,
        },
        "data": {"tls.crt": more.get("certificate", "Q0VSVA=="), "tls.key": "S0VZ"},
    }
    return noun.decode(Secret, raw)


def days(count: float) -> timedelta:
    return timedelta(days=count)


@pytest.mark.parametrize(
    ("order", "found", "after", "step"),
    [
        (ASKED, None, days(0), Issue(HOSTS, "there was none")),
        (NOBODY, None, days(0), Wait()),
        (ASKED, secret(), days(0), Wait(60 * 86400)),
        (ASKED, secret(), days(60), Issue(HOSTS, "two thirds of its lifetime are over", "7")),
        (ASKED, secret(), days(200), Issue(HOSTS, "two thirds of its lifetime are over", "7")),
        (Order(KEY, ("a.test",)), secret(), days(0), Issue(("a.test",), "the hosts changed", "7")),
        (ASKED, secret(labels={}), days(100), Wait()),
        (ASKED, secret(labels={"certificates.fairway.dev/issuer": "acme"}), days(100), Wait()),
        (ASKED, secret(certificate="T1RIRVI="), days(100), Wait()),
        (ASKED, secret(type="Opaque"), days(100), Wait()),
        (NOBODY, secret(labels={}), days(100), Wait()),
        (NOBODY, secret(), days(0), Wait(90 * 86400)),
        (NOBODY, secret(), days(90), Remove("u1", "7")),
        (
            ASKED,
            secret(notes={"certificates.fairway.dev/renew-after": "soon"}),
            days(0),
            Issue(HOSTS, "two thirds of its lifetime are over", "7"),
        ),
        (
            ASKED,
            secret(notes={"certificates.fairway.dev/renew-after": "2026-11-25T00:00:00"}),
            days(0),
            Issue(HOSTS, "two thirds of its lifetime are over", "7"),
        ),
    ],
)
def test_a_step(order: Order, found: Secret | None, after: timedelta, step: Step) -> None:
    assert plan(order, found, AUTHORITY, NOW + after) == step


def test_another_authority_signs_anew() -> None:
    assert plan(ASKED, secret(), "cd" * 32, NOW) == Issue(HOSTS, "the authority is another one", "7")


def test_what_was_issued_needs_nothing_more() -> None:
    """The notes that are written satisfy the plan that reads them."""
    for hosts in ((), ("a.test",), ("*.a.test", "a.test")):
        order = msgspec.structs.replace(ASKED, hosts=hosts)
        notes = annotations(hosts, "Q0VSVA==", AUTHORITY, NOW + days(1), NOW + days(2))
        assert isinstance(plan(order, secret(notes=notes), AUTHORITY, NOW), Wait)
