// What the JavaScript client does in practice: create, list, patch, an informer, custom resources, errors.
import assert from "node:assert";
import * as k8s from "@kubernetes/client-node";

const config = new k8s.KubeConfig();
config.loadFromDefault();
const core = config.makeApiClient(k8s.CoreV1Api);
const namespace = "javascript";

await core.createNamespace({ body: { metadata: { name: namespace } } });

const seen = [];
const informer = k8s.makeInformer(config, `/api/v1/namespaces/${namespace}/configmaps`, () =>
  core.listNamespacedConfigMap({ namespace }),
);
const changed = (name) =>
  new Promise((resolve) => informer.on(name, (obj) => obj.metadata.name === "one" && resolve(seen.push(name))));
const events = ["add", "update", "delete"].map(changed);
await informer.start();

await core.createNamespacedConfigMap({ namespace, body: { metadata: { name: "one" }, data: { a: "1" } } });
await events[0];
await core.patchNamespacedConfigMap(
  { name: "one", namespace, body: { data: { a: "2" } } },
  k8s.setHeaderOptions("Content-Type", k8s.PatchStrategy.MergePatch),
);
await events[1];
assert.equal((await core.readNamespacedConfigMap({ name: "one", namespace })).data.a, "2");
assert.ok((await core.listNamespacedConfigMap({ namespace })).items.some((item) => item.metadata.name === "one"));
await core.deleteNamespacedConfigMap({ name: "one", namespace });
await events[2];
await informer.stop();
assert.deepEqual(seen, ["add", "update", "delete"]);

await assert.rejects(core.readNamespacedConfigMap({ name: "one", namespace }), (error) => error.code === 404);

const objects = k8s.KubernetesObjectApi.makeApiClient(config);
const deployment = await objects.create({
  apiVersion: "apps/v1",
  kind: "Deployment",
  metadata: { name: "web", namespace },
  spec: {
    selector: { matchLabels: { app: "web" } },
    template: { metadata: { labels: { app: "web" } }, spec: { containers: [{ name: "web", image: "nginx:1" }] } },
  },
});
assert.equal(deployment.spec.replicas, 1);
await core.deleteNamespace({ name: namespace });
console.log("fine");
process.exit(0);
