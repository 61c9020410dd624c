"""Which hosts a Secret's certificate is for."""

from typing import Any

import pytest

from fairway.certificates import Config
from fairway.certificates.order import Order, order, refusal, serves, unserved_wish
from fairway.edge import snapshot
from fairway.edge.translate import classes as edge_classes
from fairway.kube.api import noun
from fairway.kube.api.ingresses import Ingress, IngressClass
from fairway.kube.api.meta import ObjectKey

CONFIG = Config()
KEY = ObjectKey("shop", "site-tls")


def ingress_class(name: str, controller: str, *, default: bool = False) -> IngressClass:
    notes = {"ingressclass.kubernetes.io/is-default-class": "true"} if default else {}
    raw = {"metadata": {"name": name, "annotations": notes}, "spec": {"controller": controller}}
    return noun.decode(IngressClass, raw)


CLASSES = {
    item.metadata.name: item
    for item in (
        ingress_class("fairway", "fairway.dev/ingress", default=True),
        ingress_class("nginx", "fairway.dev/ingress"),
        ingress_class("other", "example.com/other"),
    )
}


def ingress(name: str = "site", **more: Any) -> Ingress:
    """`tls` as (secret, hosts) pairs; `rules` are hosts."""
    spec: dict[str, Any] = {"rules": [{"host": host} for host in more.get("rules", ())]}
    spec["tls"] = [{"secretName": secret, "hosts": list(hosts)} for secret, hosts in more.get("tls", ())]
    if "class_name" in more:
        spec["ingressClassName"] = more["class_name"]
    meta = {"name": name, "namespace": "shop", "uid": name, "annotations": more.get("annotations", {})}
    return noun.decode(Ingress, {"metadata": meta, "spec": spec})


def ordered(*asking: Ingress, config: Config = CONFIG) -> Order:
    return order(KEY, asking, CLASSES, config)


def test_the_hosts_of_every_ingress_that_names_the_secret() -> None:
    found = ordered(
        ingress("b", tls=[("site-tls", ["promo.corp.com", "www.corp.com"]), ("else", ["no.corp.com"])]),
        ingress("a", tls=[("site-tls", ["WWW.corp.com", "*.corp.com"])]),
    )
    assert found.hosts == ("*.corp.com", "promo.corp.com", "www.corp.com")
    assert [one.metadata.name for one in found.ingresses] == ["a", "b"]
    assert not found.problems


def test_a_section_without_hosts_means_the_hosts_of_the_rules() -> None:
    assert ordered(ingress(tls=[("site-tls", [])], rules=["a.test", "b.test", ""])).hosts == ("a.test", "b.test")


def test_bad_hosts_are_problems_and_the_good_ones_are_served() -> None:
    found = ordered(ingress(tls=[("site-tls", ["good.test", "192.0.2.7", f"{'a' * 64}.test"])]))
    assert found.hosts == ("good.test",)
    assert [problem.reason for _, problem in found.problems] == ["InvalidHost", "InvalidHost"]


def test_ingresses_of_other_classes_do_not_count() -> None:
    assert not ordered(ingress(tls=[("site-tls", ["a.test"])], class_name="other")).ingresses


def test_cert_manager_is_left_its_own_where_it_runs() -> None:
    asking = ingress(tls=[("site-tls", ["a.test"])], annotations={"cert-manager.io/cluster-issuer": "letsencrypt"})
    assert ordered(asking).hosts == ("a.test",)
    assert not ordered(asking, config=Config(cluster_issuers=False)).hosts


@pytest.mark.parametrize(
    ("host", "word"),
    [
        ("example.com", ""),
        ("localhost", ""),
        ("*.example.com", ""),
        ("xn--fiqs8s.example.com", ""),
        (f"{'a' * 63}.test", ""),
        (f"{'a' * 64}.test", "1 to 63"),
        (".".join(["a" * 60] * 5), "longer"),
        ("a..b", "label"),
        ("", "label"),
        ("*", "wildcard"),
        ("*.*.com", "wildcard"),
        ("www.*.com", "wildcard"),
        ("w*.example.com", "wildcard"),
        ("under_score.test", "label"),
        ("-a.test", "label"),
        ("192.0.2.1", "address"),
        ("2001:db8::1", "address"),
        ("a.test\nDNS:evil", "label"),
        ("例子.test", "label"),
    ],
)
def test_hosts_that_a_certificate_can_name(host: str, word: str) -> None:
    assert word in refusal(host)
    assert bool(refusal(host)) == bool(word)


@pytest.mark.parametrize(
    ("annotations", "tls", "told"),
    [
        ({}, [], False),
        ({"kubernetes.io/tls-acme": "true"}, [("site-tls", [])], False),
        ({"kubernetes.io/tls-acme": "false"}, [], False),
        ({"kubernetes.io/tls-acme": "true"}, [], True),
        ({"cert-manager.io/cluster-issuer": "letsencrypt-prod"}, [("", ["a.test"])], True),
    ],
)
def test_a_wish_without_a_secret_says_what_to_add(annotations: Any, tls: Any, told: bool) -> None:
    problem = unserved_wish(ingress(annotations=annotations, tls=tls, rules=["a.test"]))
    assert (problem is not None) == told
    if problem:
        assert problem.message.endswith("add spec.tls with hosts [a.test] and secretName site-tls")


@pytest.mark.parametrize("class_name", [None, "fairway", "nginx", "other", "missing"])
@pytest.mark.parametrize("annotation", [None, "fairway", "nginx", "other", "missing"])
def test_the_edge_and_this_room_agree_on_what_is_served(class_name: str | None, annotation: str | None) -> None:
    more: dict[str, Any] = {} if class_name is None else {"class_name": class_name}
    notes = {} if annotation is None else {"kubernetes.io/ingress.class": annotation}
    one = ingress(annotations=notes, **more)
    seen = snapshot.take(classes=CLASSES.values())
    assert serves(one, CLASSES, CONFIG) == edge_classes.serves(one, seen)
