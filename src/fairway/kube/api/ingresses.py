"""Ingress and IngressClass."""

from collections.abc import Mapping
from typing import Any

from fairway.kube.api.meta import ObjectMeta
from fairway.kube.api.noun import Noun


class ServiceBackendPort(Noun):
    """Exactly one of the two is set."""

    name: str = ""
    number: int = 0


class IngressServiceBackend(Noun):
    name: str = ""
    port: ServiceBackendPort = ServiceBackendPort()


class IngressBackend(Noun):
    service: IngressServiceBackend | None = None
    resource: Mapping[str, Any] | None = None


class HttpIngressPath(Noun):
    backend: IngressBackend = IngressBackend()
    path: str = ""
    path_type: str = ""


class HttpIngressRuleValue(Noun):
    paths: tuple[HttpIngressPath, ...] = ()


class IngressRule(Noun):
    host: str = ""
    http: HttpIngressRuleValue | None = None


class IngressTls(Noun):
    hosts: tuple[str, ...] = ()
    secret_name: str = ""


class IngressSpec(Noun):
    ingress_class_name: str | None = None
    default_backend: IngressBackend | None = None
    rules: tuple[IngressRule, ...] = ()
    tls: tuple[IngressTls, ...] = ()


class IngressLoadBalancerIngress(Noun):
    ip: str = ""
    hostname: str = ""


class IngressLoadBalancerStatus(Noun):
    ingress: tuple[IngressLoadBalancerIngress, ...] = ()


class IngressStatus(Noun):
    load_balancer: IngressLoadBalancerStatus = IngressLoadBalancerStatus()


class Ingress(Noun):
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressSpec = IngressSpec()
    status: IngressStatus = IngressStatus()


class IngressClassSpec(Noun):
    controller: str = ""
    parameters: Mapping[str, Any] | None = None


class IngressClass(Noun):
    metadata: ObjectMeta = ObjectMeta()
    spec: IngressClassSpec = IngressClassSpec()

    @property
    def default(self) -> bool:
        return self.metadata.annotations.get("ingressclass.kubernetes.io/is-default-class") == "true"
