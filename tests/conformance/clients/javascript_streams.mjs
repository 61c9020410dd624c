// What the JavaScript client does with a container: exec, logs, a forwarded port.
import assert from "node:assert";
import net from "node:net";
import { PassThrough } from "node:stream";
import * as k8s from "@kubernetes/client-node";

const config = new k8s.KubeConfig();
config.loadFromDefault();
const [namespace, pod, container] = ["default", process.argv[2], process.argv[2]];
const text = async (stream) => Buffer.concat(await stream.toArray()).toString();

const output = new PassThrough();
const errors = new PassThrough();
const status = await new Promise((resolve, reject) =>
  new k8s.Exec(config)
    .exec(namespace, pod, container, ["sh", "-c", "echo right; echo wrong >&2; exit 3"], output, errors, null, false, resolve)
    .catch(reject),
);
output.end();
errors.end();
assert.deepEqual([await text(output), await text(errors)], ["right\n", "wrong\n"]);
assert.equal(status.details.causes[0].message, "3");

const forward = new k8s.PortForward(config);
const server = net.createServer((socket) => forward.portForward(namespace, pod, [80], socket, null, socket));
await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
const answer = await fetch(`http://127.0.0.1:${server.address().port}/`, { headers: { connection: "close" } });
assert.equal(answer.status, 200);
assert.match(await answer.text(), /<\/html>/);

let said = "";
for (const end = Date.now() + 60000; !said.includes("GET /"); ) { // the log comes in its own time
  assert.ok(Date.now() < end, said);
  const log = new PassThrough();
  await new k8s.Log(config).log(namespace, pod, container, log, { follow: false });
  said = await text(log);
}

console.log("fine");
process.exit(0);
