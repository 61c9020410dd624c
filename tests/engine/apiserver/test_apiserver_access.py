"""Who may what, over the API: impersonation, reviews, roles that nobody may overreach with, aggregation, nodes."""

from typing import Any

import pytest

RBAC = "/apis/rbac.authorization.k8s.io/v1"
AUTHORIZATION = "/apis/authorization.k8s.io/v1"
AUTHENTICATION = "/apis/authentication.k8s.io/v1"


def role(name: str, *rules: tuple[str, str, str], **metadata: Any) -> Any:
    """Rules are (verbs, group, resources)."""
    made = [{"verbs": v.split(), "apiGroups": [g], "resources": r.split()} for v, g, r in rules]
    return {"kind": "ClusterRole", "metadata": {"name": name, **metadata}, "rules": made}


def binding(name: str, to: str, user: str, kind: str = "ClusterRoleBinding") -> Any:
    reference = {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": to}
    subject = {"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": user}
    return {"kind": kind, "metadata": {"name": name}, "roleRef": reference, "subjects": [subject]}


async def as_user(api: Any, user: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return await api.call(method, path, body, Impersonate_User=user, **headers)


async def access(api: Any, user: str, verb: str, resource: str, group: str = "", **more: str) -> Any:
    spec = {"resourceAttributes": {"verb": verb, "resource": resource, "group": group, **more}}
    answer = await as_user(api, user, "POST", f"{AUTHORIZATION}/selfsubjectaccessreviews", {"spec": spec})
    assert answer.status == 201, answer.body
    return answer.json["status"]


# --- impersonation


async def test_impersonated_users_have_their_own_rights_only(api: Any) -> None:
    answer = await as_user(api, "bob", "GET", "/api/v1/namespaces/default/pods")
    assert (answer.status, answer.message) == (
        403,
        'pods is forbidden: User "bob" cannot list resource "pods" in API group "" in the namespace "default"',
    )
    review = await as_user(
        api,
        "bob",
        "POST",
        f"{AUTHENTICATION}/selfsubjectreviews",
        {},
        Impersonate_Group="a, b",
        Impersonate_Uid="7",
        Impersonate_Extra_Scopes="x",
    )
    assert review.json["status"]["userInfo"] == {
        "username": "bob",
        "uid": "7",
        "groups": ["a", "b", "system:authenticated"],
        "extra": {"scopes": ["x"]},
    }


@pytest.mark.parametrize(
    ("headers", "message"),
    [
        ({}, 'users "eve" is forbidden: User "bob" cannot impersonate resource "users" in API group ""'),
        ({"Impersonate_Group": "g"}, 'users "eve" is forbidden: User "bob" cannot impersonate resource "users"'),
    ],
)
async def test_who_may_not_impersonate(secure: Any, headers: dict[str, str], message: str) -> None:
    async with secure.client("bob") as client:
        pairs = [("Impersonate-User", "eve"), *((key.replace("_", "-"), value) for key, value in headers.items())]
        response = await client.request("GET", "/api", headers=pairs)
        body = await response.read()
    assert response.status == 403
    assert message.encode() in body.replace(b'\\"', b'"')


async def test_groups_without_a_user(api: Any) -> None:
    assert (await api.call("GET", "/api", Impersonate_Group="g")).status == 500


async def test_an_impersonated_account_has_its_groups(api: Any) -> None:
    name = "system:serviceaccount:default:default"
    review = await as_user(api, name, "POST", f"{AUTHENTICATION}/selfsubjectreviews", {})
    assert review.json["status"]["userInfo"]["groups"] == [
        "system:serviceaccounts",
        "system:serviceaccounts:default",
        "system:authenticated",
    ]


# --- reviews


async def test_reasons_and_refusals(api: Any) -> None:
    assert await access(api, "bob", "get", "pods") == {"allowed": False}
    await api.create(f"{RBAC}/clusterrolebindings", binding("b", "view", "bob"))
    assert await access(api, "bob", "get", "pods") == {
        "allowed": True,
        "reason": 'RBAC: allowed by ClusterRoleBinding "b" of ClusterRole "view" to User "bob"',
    }
    assert await access(api, "bob", "get", "secrets") == {"allowed": False}
    await api.create(f"{RBAC}/clusterrolebindings", binding("c", "nothing", "eve"))
    says = 'RBAC: clusterrole.rbac.authorization.k8s.io "nothing" not found'
    assert await access(api, "eve", "get", "pods") == {"allowed": False, "reason": says}
    answer = await as_user(api, "eve", "GET", "/api/v1/nodes")
    assert answer.message.endswith(f"at the cluster scope: {says}")


async def test_a_namespace_belongs_to_those_who_may_in_it(api: Any) -> None:
    await api.create(f"{RBAC}/namespaces/default/rolebindings", binding("b", "view", "bob", "RoleBinding"))
    assert (await as_user(api, "bob", "GET", "/api/v1/namespaces/default")).status == 200
    assert (await as_user(api, "bob", "GET", "/api/v1/namespaces/kube-system")).status == 403
    assert (await as_user(api, "bob", "GET", "/api/v1/namespaces")).status == 403


async def test_names_in_rules_count_for_lists_of_one(api: Any) -> None:
    made = role("one", ("get list watch", "", "configmaps"))
    made["rules"][0]["resourceNames"] = ["a"]
    await api.create(f"{RBAC}/clusterroles", made)
    await api.create(f"{RBAC}/clusterrolebindings", binding("one", "one", "bob"))
    path = "/api/v1/namespaces/default/configmaps"
    assert (await as_user(api, "bob", "GET", f"{path}/a")).status == 404
    assert (await as_user(api, "bob", "GET", f"{path}/b")).status == 403
    assert (await as_user(api, "bob", "GET", path)).status == 403
    assert (await as_user(api, "bob", "GET", f"{path}?fieldSelector=metadata.name%3Da")).status == 200
    assert (await as_user(api, "bob", "GET", f"{path}?fieldSelector=metadata.name%3Db")).status == 403


async def test_reviews_of_others(api: Any) -> None:
    await api.create(f"{RBAC}/clusterrolebindings", binding("b", "view", "bob"))
    about = {"verb": "list", "resource": "pods", "namespace": "default"}
    for path in ("subjectaccessreviews", "namespaces/default/localsubjectaccessreviews"):
        body = {"spec": {"user": "bob", "resourceAttributes": about}}
        assert (await api.create(f"{AUTHORIZATION}/{path}", body))["status"]["allowed"] is True
        body = {"spec": {"user": "eve", "groups": ["x"], "resourceAttributes": about}}
        assert (await api.create(f"{AUTHORIZATION}/{path}", body))["status"] == {"allowed": False}
    url = {"spec": {"user": "eve", "nonResourceAttributes": {"verb": "get", "path": "/healthz"}}}
    assert (await api.create(f"{AUTHORIZATION}/subjectaccessreviews", url))["status"]["allowed"] is True


@pytest.mark.parametrize(
    ("path", "spec", "status", "message"),
    [
        ("selfsubjectaccessreviews", {}, 422, "exactly one of nonResourceAttributes or resourceAttributes must be"),
        (
            "selfsubjectaccessreviews",
            {"resourceAttributes": {}, "nonResourceAttributes": {}},
            422,
            "cannot be specified in combination with resourceAttributes",
        ),
        ("subjectaccessreviews", {"resourceAttributes": {}}, 422, "at least one of user or group must be specified"),
        ("selfsubjectrulesreviews", {}, 400, "no namespace on request"),
        ("localsubjectaccessreviews", {"user": "x", "resourceAttributes": {}}, 400, "empty namespace|namespace is"),
        (
            "namespaces/a/localsubjectaccessreviews",
            {"user": "x", "resourceAttributes": {"namespace": "b"}},
            422,
            "must match metadata.namespace",
        ),
    ],
)
async def test_questions_that_make_no_sense(api: Any, path: str, spec: Any, status: int, message: str) -> None:
    answer = await api.call("POST", f"{AUTHORIZATION}/{path}", {"spec": spec})
    assert answer.status == status, answer.body
    assert any(part in answer.message for part in message.split("|")), answer.message


async def test_reviews_are_only_created(api: Any) -> None:
    path = f"{AUTHORIZATION}/selfsubjectaccessreviews"
    for method in ("GET", "DELETE", "PUT"):
        assert (await api.call(method, path, {})).status == 405
    table = "application/json;as=Table;v=v1;g=meta.k8s.io"
    assert (await api.call("POST", path, {"spec": {"resourceAttributes": {}}}, Accept=table)).status == 406
    resources = (await api.get(AUTHORIZATION))["resources"]
    assert {each["name"]: each["verbs"] for each in resources} == {
        "localsubjectaccessreviews": ["create"],
        "selfsubjectaccessreviews": ["create"],
        "selfsubjectrulesreviews": ["create"],
        "subjectaccessreviews": ["create"],
    }


async def test_rules_of_a_user(api: Any) -> None:
    body = {"spec": {"namespace": "default"}}
    path = f"{AUTHORIZATION}/selfsubjectrulesreviews"
    status = (await as_user(api, "bob", "POST", path, body)).json["status"]
    assert {"verbs": ["create"], "apiGroups": ["authentication.k8s.io"], "resources": ["selfsubjectreviews"]} in status[
        "resourceRules"
    ]
    assert status["incomplete"] is False
    masters = (await api.create(path, body))["status"]
    assert masters["resourceRules"][0] == {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}


# --- escalation


async def test_nobody_gives_what_they_do_not_have(api: Any) -> None:
    manage = role("manage", ("*", "rbac.authorization.k8s.io", "clusterroles clusterrolebindings"), ("get", "", "pods"))
    manage["rules"][0]["verbs"] = ["create", "update", "get", "patch"]
    await api.create(f"{RBAC}/clusterroles", manage)
    await api.create(f"{RBAC}/clusterrolebindings", binding("manage", "manage", "bob"))
    made = await as_user(api, "bob", "POST", f"{RBAC}/clusterroles", role("small", ("get", "", "pods")))
    assert made.status == 201
    refused = await as_user(api, "bob", "POST", f"{RBAC}/clusterroles", role("big", ("get list", "", "pods secrets")))
    assert (refused.status, refused.message) == (
        403,
        'clusterroles.rbac.authorization.k8s.io "big" is forbidden: user "bob" (groups=["system:authenticated"]) is '
        "attempting to grant RBAC permissions not currently held:\n"
        '{APIGroups:[""], Resources:["pods"], Verbs:["list"]}\n'
        '{APIGroups:[""], Resources:["secrets"], Verbs:["get" "list"]}',
    )
    grown = role("small", ("get", "", "pods nodes"))
    assert (await as_user(api, "bob", "PUT", f"{RBAC}/clusterroles/small", grown)).status == 403
    label = {"metadata": {"labels": {"a": "b"}}}
    patched = await api.call(
        "PATCH", f"{RBAC}/clusterroles/view", label, "application/merge-patch+json", Impersonate_User="bob"
    )
    assert patched.status == 200, "what leaves the rules alone gives nothing away"
    aggregating = {**role("all"), "aggregationRule": {"clusterRoleSelectors": [{"matchLabels": {"x": "y"}}]}}
    answer = await as_user(api, "bob", "POST", f"{RBAC}/clusterroles", aggregating)
    assert "must have cluster-admin privileges to use the aggregationRule" in answer.message


async def test_binding_needs_the_rights_or_the_verb(api: Any) -> None:
    rbac = "rbac.authorization.k8s.io"
    binder = role("binder", ("create", rbac, "clusterrolebindings rolebindings"), ("bind", rbac, "clusterroles"))
    binder["rules"][1]["resourceNames"] = ["edit"]
    await api.create(f"{RBAC}/clusterroles", binder)
    await api.create(f"{RBAC}/clusterrolebindings", binding("binder", "binder", "bob"))
    path = f"{RBAC}/clusterrolebindings"
    assert (await as_user(api, "bob", "POST", path, binding("x", "edit", "eve"))).status == 201
    refused = await as_user(api, "bob", "POST", path, binding("y", "admin", "eve"))
    assert refused.status == 403
    assert "not currently held" in refused.message
    missing = await as_user(api, "bob", "POST", path, binding("z", "nothing", "eve"))
    assert (missing.status, missing.message) == (404, f'clusterroles.{rbac} "nothing" not found')
    own = binding("self", "system:basic-user", "eve")
    assert (await as_user(api, "bob", "POST", path, own)).status == 201, "everybody has these rights"


async def test_escalate_is_a_right_of_its_own(api: Any) -> None:
    trusted = role("trusted", ("create escalate", "rbac.authorization.k8s.io", "clusterroles"))
    await api.create(f"{RBAC}/clusterroles", trusted)
    await api.create(f"{RBAC}/clusterrolebindings", binding("trusted", "trusted", "bob"))
    made = await as_user(api, "bob", "POST", f"{RBAC}/clusterroles", role("big", ("*", "*", "*")))
    assert made.status == 201, made.body


# --- default roles


async def test_aggregated_roles_follow_their_parts(api: Any) -> None:
    view = await api.get(f"{RBAC}/clusterroles/view")
    assert view["metadata"]["annotations"]["rbac.authorization.kubernetes.io/autoupdate"] == "true"
    assert view["rules"]
    labels = {"rbac.authorization.k8s.io/aggregate-to-view": "true"}
    watching = await api.watch(f"{RBAC}/clusterroles?watch=1&fieldSelector=metadata.name%3Dadmin")
    await watching.next()
    await api.create(f"{RBAC}/clusterroles", role("crons", ("get", "example.com", "crontabs"), labels=labels))
    admin = (await watching.next())["object"]
    rule = {"verbs": ["get"], "apiGroups": ["example.com"], "resources": ["crontabs"]}
    assert rule in admin["rules"], "view is part of edit, edit is part of admin"
    await api.delete(f"{RBAC}/clusterroles/crons")
    assert rule not in (await watching.next())["object"]["rules"]


# --- nodes

NODE = {"Impersonate_Group": "system:nodes"}


async def as_node(api: Any, method: str, path: str, body: Any = None) -> Any:
    return await as_user(api, "system:node:n1", method, path, body, **NODE)


def pod(name: str, node: str, **spec: Any) -> Any:
    return {"metadata": {"name": name}, "spec": {"nodeName": node, "containers": [{"name": "c", "image": "i"}], **spec}}


async def test_a_node_reads_what_its_pods_need(api: Any) -> None:
    base = "/api/v1/namespaces/default"
    for name in ("mine", "other"):
        await api.create(f"{base}/secrets", {"metadata": {"name": name}})
    volume = {"name": "v", "secret": {"secretName": "mine"}}
    await api.create(f"{base}/pods", pod("p1", "n1", volumes=[volume]))
    await api.create(f"{base}/pods", pod("p2", "n2", volumes=[{**volume, "secret": {"secretName": "other"}}]))
    assert (await as_node(api, "GET", f"{base}/secrets/mine")).status == 200
    refused = await as_node(api, "GET", f"{base}/secrets/other")
    assert refused.message.endswith(": no relationship found between node 'n1' and this object")
    assert (await as_node(api, "GET", f"{base}/secrets")).status == 403
    assert (await as_node(api, "GET", f"{base}/pods/p1")).status == 200
    assert (await as_node(api, "GET", f"{base}/pods/p2")).status == 403
    assert (await as_node(api, "GET", f"{base}/configmaps/kube-root-ca.crt")).status == 404
    assert (await as_node(api, "GET", "/apis/apps/v1/deployments")).status == 403


async def test_a_node_changes_only_itself(api: Any) -> None:
    def node(name: str, **labels: str) -> Any:
        return {"kind": "Node", "metadata": {"name": name, "labels": labels}}

    assert (await as_node(api, "POST", "/api/v1/nodes", node("n1", **{"kubernetes.io/hostname": "n1"}))).status == 201
    refused = await as_node(api, "POST", "/api/v1/nodes", node("n2"))
    assert refused.message == 'nodes "n2" is forbidden: node "n1" is not allowed to modify node "n2"'
    patch = {"metadata": {"labels": {"node-restriction.kubernetes.io/x": "y"}}}
    answer = await api.call(
        "PATCH", "/api/v1/nodes/n1", patch, "application/merge-patch+json", Impersonate_User="system:node:n1", **NODE
    )
    says = "is not allowed to modify labels: node-restriction.kubernetes.io/x"
    assert answer.message == f'nodes "n1" is forbidden: {says}'


async def test_a_node_handles_only_its_pods(api: Any) -> None:
    base = "/api/v1/namespaces/default/pods"
    await api.create(base, pod("p1", "n1"))
    await api.create(base, pod("p2", "n2"))
    answer = await as_node(api, "DELETE", f"{base}/p2")
    assert answer.message == 'pods "p2" is forbidden: node "n1" can only delete pods with spec.nodeName set to itself'
    assert (await as_node(api, "DELETE", f"{base}/p1")).status == 200
    refused = await as_node(api, "POST", base, pod("p3", "n1"))
    assert "can only create mirror pods" in refused.message


async def test_a_node_gets_tokens_of_its_pods_only(api: Any) -> None:
    base = "/api/v1/namespaces/default"
    pods = [await api.create(f"{base}/pods", pod(f"p{node}", f"n{node}")) for node in (1, 2)]
    path = f"{base}/serviceaccounts/default/token"

    def request(of: Any) -> Any:
        reference = {"apiVersion": "v1", "kind": "Pod", "name": of["metadata"]["name"], "uid": of["metadata"]["uid"]}
        return {"spec": {"boundObjectRef": reference}}

    assert (await as_node(api, "POST", path, request(pods[0]))).status == 201
    assert "different node" in (await as_node(api, "POST", path, request(pods[1]))).message
    assert "not bound to a pod" in (await as_node(api, "POST", path, {"spec": {}})).message
