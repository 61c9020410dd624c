"""Ingress and IngressClass."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import Noun


class ServiceBackendPort(Noun, frozen=True):
    """Exactly one of the two is set."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Noun, frozen=True):
    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(Noun, frozen=True):
    service: IngressServiceBackend | None = None
    resource: Mapping[str, Any] | None = None


class HttpIngressPath(Noun, frozen=True):
    backend: IngressBackend = IngressBackend()
    path: str = ""
    path_type: str = ""


class HttpIngressRuleValue(Noun, frozen=True):
    paths: tuple[HttpIngressPath, ...] = ()


class IngressRule(Noun, frozen=True):
    host: str = ""
    http: HttpIngressRuleValue | None = None


class IngressTls(Noun, frozen=True):
    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(Noun, frozen=True):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTls, ...] = ()


class IngressLoadBalancerIngress(Noun, frozen=True):
    ip: str = ""
    hostname: str = ""


class IngressLoadBalancerStatus(Noun, frozen=True):
    ingress: tuple[IngressLoadBalancerIngress, ...] = ()


class IngressStatus(Noun, frozen=True):
    load_balancer: IngressLoadBalancerStatus = IngressLoadBalancerStatus()


class Ingress(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassSpec(Noun, frozen=True):
    controller: str = ""
    parameters: Mapping[str, Any] | None = None


class IngressClass(Noun, frozen=True):
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressClassSpec = IngressClassSpec()

    @property
    def default(self) -> bool:
        return self.metadata.annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"
