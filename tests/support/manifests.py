"""Small manifests that tests vary."""

import json

SERVER = """
import http.server, os, signal, sys, threading, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # head and body leave in one write: an answer that has begun when its server dies cannot be saved
    def do_GET(self):
        body = (os.environ["VERSION"] + " " + self.path).encode()
        self.send_response(200); self.send_header("Content-Length", str(len(body))); self.end_headers()
        self.wfile.write(body)
    def log_message(self, *a): pass
class Server(http.server.ThreadingHTTPServer):
    request_queue_size = 128
    daemon_threads = True
server = Server(("", 8080), Handler)
def stop(*_):
    print("SIGTERM", time.time(), flush=True)
    threading.Thread(target=server.shutdown).start()
signal.signal(signal.SIGTERM, stop)
print("serving", os.environ["VERSION"], flush=True)
server.serve_forever()
"""


def web(name: str, *, version: str = "v1", replicas: int = 2, host: str = "", namespace: str = "default") -> str:
    """A Deployment that answers with its version, a Service, and an Ingress for `host` (NAME.example.com)."""
    code = "\n".join("    " + line for line in SERVER.strip().splitlines())
    return f"""
apiVersion: v1
kind: ConfigMap
metadata: {{name: {name}-code, namespace: {namespace}}}
data:
  server.py: |
{code}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  replicas: {replicas}
  selector: {{matchLabels: {{app: {name}}}}}
  template:
    metadata: {{labels: {{app: {name}}}}}
    spec:
      terminationGracePeriodSeconds: 10
      containers:
      - name: web
        image: python:3-slim
        command: [python3, -u, /code/server.py]
        env: [{{name: VERSION, value: {version}}}]
        ports: [{{name: http, containerPort: 8080}}]
        readinessProbe: {{httpGet: {{path: /, port: http}}, periodSeconds: 1, timeoutSeconds: 10}}
        volumeMounts: [{{name: code, mountPath: /code}}]
      volumes: [{{name: code, configMap: {{name: {name}-code}}}}]
---
apiVersion: v1
kind: Service
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  selector: {{app: {name}}}
  ports: [{{name: http, port: 80, targetPort: http}}]
---
apiVersion: networking.k8s.io/v1
kind: Ingress
metadata: {{name: {name}, namespace: {namespace}}}
spec:
  rules:
  - host: {host or name + ".example.com"}
    http:
      paths:
      - {{path: /, pathType: Prefix, backend: {{service: {{name: {name}, port: {{number: 80}}}}}}}}
"""


def small(kind: str, name: str, **fields: object) -> str:
    """A core object as JSON, which every kubectl reads from standard input."""
    return json.dumps({"apiVersion": "v1", "kind": kind, "metadata": {"name": name}, **fields})
