"""Everyday commands and what they print, with the oldest and the newest kubectl of this machine."""

import time
from collections.abc import Iterator

import pytest
from cluster import Cluster, kubectls

pytestmark = pytest.mark.real
_ALL = list(kubectls().items())
_SOME = dict([_ALL[0], _ALL[len(_ALL) // 2], _ALL[-1]])


class Walk:
    """One kubectl in one namespace."""

    def __init__(self, cluster: Cluster, binary: str, namespace: str) -> None:
        self._cluster, self._binary, self.namespace = cluster, binary, namespace

    def __call__(self, words: str, *more: str, check: bool = True) -> str:
        arguments = ("-n", self.namespace, *words.split(), *more)
        return self._cluster.kubectl(*arguments, binary=self._binary, check=check).strip()


@pytest.fixture(params=_SOME.items(), ids=lambda item: item[0])
def walk(request: pytest.FixtureRequest, fairway_cluster: Cluster) -> Iterator[Walk]:
    version, binary = request.param
    kubectl = Walk(fairway_cluster, binary, "verbs-" + version.replace(".", "-"))
    kubectl(f"create namespace {kubectl.namespace}")
    yield kubectl
    kubectl(f"delete namespace {kubectl.namespace} --timeout=120s")


def test_what_is_created(walk: Walk) -> None:
    for words, says in (
        ("configmap c --from-literal=a=b", "configmap/c created"),
        ("secret generic s --from-literal=a=b", "secret/s created"),
        ("serviceaccount sa", "serviceaccount/sa created"),
        ("role r --verb=get,list --resource=pods", "role.rbac.authorization.k8s.io/r created"),
        (
            f"rolebinding rb --role=r --serviceaccount={walk.namespace}:sa",
            "rolebinding.rbac.authorization.k8s.io/rb created",
        ),
        ("quota q --hard=pods=20", "resourcequota/q created"),
        ("pdb p --selector=app=web --min-available=1", "poddisruptionbudget.policy/p created"),
        ("ingress i --rule=verbs.example.com/*=web:80", "ingress.networking.k8s.io/i created"),
        ("job j --image=busybox:latest -- true", "job.batch/j created"),
        ("cronjob cj --image=busybox:latest --schedule=@yearly -- true", "cronjob.batch/cj created"),
        ("job by-hand --from=cronjob/cj", "job.batch/by-hand created"),
        ("service clusterip none --clusterip=None", "service/none created"),
        ("service externalname far --external-name=a.example.com", "service/far created"),
    ):
        assert walk(f"create {words}") == says
    me = f"--as=system:serviceaccount:{walk.namespace}:sa"
    assert walk(f"auth can-i list pods {me}") == "yes"
    assert walk(f"auth can-i delete pods {me}", check=False).endswith("no")
    assert walk("create token sa").count(".") == 2
    assert walk("create configmap c", check=False) == 'error: failed to create configmap: configmaps "c" already exists'
    assert walk("get svc far --no-headers").split()[:5] == ["far", "ExternalName", "<none>", "a.example.com", "<none>"]


def test_what_is_changed(walk: Walk) -> None:
    assert walk("create deployment web --image=nginx:latest --replicas=2 --port=80") == "deployment.apps/web created"
    walk("rollout status deployment/web --timeout=60s")
    assert walk("expose deployment web --port=80") == "service/web exposed"
    assert walk("set resources deployment/web --requests=cpu=10m --limits=memory=64Mi").endswith("requirements updated")
    assert walk("set env deployment/web A=b") == "deployment.apps/web env updated"
    assert walk("set env deployment/web --list").splitlines()[-1] == "A=b"
    assert walk("rollout pause deployment/web") == "deployment.apps/web paused"
    assert "already paused" in walk("rollout pause deployment/web", check=False)
    assert walk("rollout resume deployment/web") == "deployment.apps/web resumed"
    assert walk("rollout restart deployment/web") == "deployment.apps/web restarted"
    assert walk("rollout status deployment/web --timeout=60s").endswith("successfully rolled out")
    assert walk("rollout undo deployment/web --to-revision=1") == "deployment.apps/web rolled back"
    assert "unable to find specified revision 99" in walk("rollout undo deployment/web --to-revision=99", check=False)
    says = walk("autoscale deployment web --min=2 --max=2 --cpu-percent=50")  # it shall not scale meanwhile
    assert says == "horizontalpodautoscaler.autoscaling/web autoscaled"
    walk("delete hpa web")
    says = walk("scale deployment/web --replicas=1 --current-replicas=9", check=False)
    assert says.lower() == "error: expected replicas to be 9, was 2"
    assert walk("scale deployment/web --replicas=1") == "deployment.apps/web scaled"
    assert walk("label deployment web tier=front") == "deployment.apps/web labeled"
    assert "already has a value (front)" in walk("label deployment web tier=back", check=False)
    assert walk("annotate deployment web kubernetes.io/change-cause=why").startswith("deployment.apps/web annotate")
    deadline = time.monotonic() + 60
    while (history := walk("rollout history deployment/web")).split()[-1] != "why":  # the controller copies it
        assert time.monotonic() < deadline, history
    patch = '[{"op":"replace","path":"/spec/replicas","value":2}]'
    assert walk("patch deployment web --type=json -p", patch) == "deployment.apps/web patched"
    assert walk("wait --for=condition=Available deployment/web --timeout=60s") == "deployment.apps/web condition met"
    assert walk("wait --for=jsonpath={.spec.replicas}=2 deployment/web") == "deployment.apps/web condition met"
    walk("rollout status deployment/web --timeout=60s")
    assert walk("patch deployment web -p", '{"spec":{"replicas":2}}') == "deployment.apps/web patched (no change)"
    assert walk("wait --for=condition=Available deployment/none", check=False).endswith("not found")
    assert "field label not supported" in walk("get pods --field-selector spec.nope=1", check=False)
    assert walk("delete deployment web --dry-run=server") == 'deployment.apps "web" deleted (server dry run)'
    assert walk("delete deployment web") == 'deployment.apps "web" deleted'


def test_what_is_done_to_the_node(walk: Walk) -> None:
    key = walk.namespace
    assert walk(f"taint node fairway {key}=x:PreferNoSchedule") == "node/fairway tainted"
    assert "already has" in walk(f"taint node fairway {key}=x:PreferNoSchedule", check=False)
    assert walk(f"taint node fairway {key}:PreferNoSchedule-") == "node/fairway untainted"
    assert walk("cordon fairway") == "node/fairway cordoned"
    assert walk("get node fairway --no-headers").split()[1] == "Ready,SchedulingDisabled"
    assert walk("uncordon fairway") == "node/fairway uncordoned"
    assert walk("uncordon fairway") == "node/fairway already uncordoned"
    says = walk(f"drain fairway --pod-selector=app={key} --timeout=60s --ignore-daemonsets")
    assert says.endswith("node/fairway drained")
    walk("uncordon fairway")
