"""What lightkube does in practice: create, list, watch, patch, apply, scale, delete, and custom resources."""

from lightkube import ApiError, Client
from lightkube.codecs import load_all_yaml
from lightkube.core.exceptions import NotReadyError
from lightkube.generic_resource import create_namespaced_resource
from lightkube.models.autoscaling_v1 import ScaleSpec
from lightkube.models.meta_v1 import ObjectMeta
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import ConfigMap, Namespace
from lightkube.types import PatchType

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web}
spec:
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec: {containers: [{name: web, image: "nginx:1"}]}
---
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: hats.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: hats, singular: hat, kind: Hat}
  versions:
  - name: v1
    served: true
    storage: true
    schema:
      openAPIV3Schema:
        type: object
        properties: {spec: {type: object, properties: {size: {type: integer, default: 7}}}}
"""


def main() -> None:
    client = Client(namespace="lightkube", field_manager="lightkube")
    client.create(Namespace(metadata=ObjectMeta(name="lightkube")))
    client.create(ConfigMap(metadata=ObjectMeta(name="one", labels={"a": "b"}), data={"x": "1"}))
    assert [item.metadata.name for item in client.list(ConfigMap, labels={"a": "b"})] == ["one"]
    client.patch(ConfigMap, "one", {"data": {"x": "2"}}, patch_type=PatchType.MERGE)
    for event, found in client.watch(ConfigMap, fields={"metadata.name": "one"}):
        assert (event, found.data) == ("ADDED", {"x": "2"})
        break
    for obj in load_all_yaml(MANIFEST):
        client.apply(obj)
    client.replace(Deployment.Scale(metadata=ObjectMeta(name="web"), spec=ScaleSpec(replicas=3)))
    assert client.get(Deployment, "web").spec.replicas == 3
    hat = create_namespaced_resource("example.com", "v1", "Hat", "hats")
    made = client.create(hat(metadata=ObjectMeta(name="h"), spec={}))
    assert made["spec"] == {"size": 7}
    client.delete(ConfigMap, "one")
    try:
        client.get(ConfigMap, "one")
    except ApiError as error:
        assert error.status.code == 404
    else:
        raise NotReadyError("one", "is still there")
    client.delete(Namespace, "lightkube")
    print("fine")


main()
