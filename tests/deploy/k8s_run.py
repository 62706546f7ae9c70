"""Two nodes as the base of the Kubernetes files would start them, on this machine: with the container's environment, the
pod's fields filled in. Shows that probes and ports are what the gateway serves, that a node's PUBLIC_ENDPOINT leads to it,
and that node gRPC and operators are not on the clients' port."""

import json
import re
import subprocess
import tempfile
import tomllib

import k8s
import tools
import yaml

PODS = {"mics-gateway-a": "127.0.71.1", "mics-gateway-b": "127.0.71.2"}
PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\4\0\0\0\0\0"


def check(expect):
    """Calls `expect(holds, mistake)`; says what is skipped when the gateway or redis-server is missing."""
    program, redis = tools.mics(), tools.program("redis-server", "no node was started")
    if not program or not redis:
        return
    with tempfile.TemporaryDirectory() as folder, tools.Processes(folder) as processes:
        try:
            run(expect, processes, program, redis)
        except (TimeoutError, RuntimeError) as error:
            expect(False, f"k8s_run: {error}")


def run(expect, processes, program, redis):
    container, environment, outside = described(processes.folder)
    processes.start("redis", [redis, "--port", outside["redis"], "--bind", "127.0.0.1", "--save", "", "--dir", str(processes.folder)])
    hook = f"http://127.0.0.1:{outside['hook']}"
    mock = {"PORT": outside["hook"], "HOOK_BASE_URL": hook, "HOOK_TENANT_SECRETS": '{"t1":"replace"}'}
    processes.started("hookmock", processes.start("hookmock", [program, "hookmock"], mock), f"{hook}/readyz")
    urls = {}
    for pod, address in PODS.items():
        node = environment | fields(container, pod, address, environment["GRPC_PORT"])
        # Beyond what the files say: where to listen, since both pods are this machine.
        node |= {"BIND_ADDRESS": address, "ADMIN_PORT": tools.free_port()}
        base = urls[pod] = f"http://{address}:{node['PORT']}"
        process = processes.start(pod, [program, "gateway"], node)
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            processes.started(pod, process, base + container[probe]["httpGet"]["path"])
        only_clients(expect, pod, address, node, base)
    with_tenants_of_the_example(expect, processes, program, environment)
    across(expect, program, [f"{url.replace('http', 'ws')}/ws" for url in urls.values()])
    expect("config:" not in processes.log("mics-gateway-a"), f"warnings at start: {processes.log('mics-gateway-a')[:500]}")


def with_tenants_of_the_example(expect, processes, program, environment):
    """A node takes the example of the component `tenants`; what the ConfigMap says of tenants does not count then."""
    file = k8s.ROOT / "deploy/overlays/tenants/tenants.example.toml"
    ports = {"PORT": tools.free_port(), "GRPC_PORT": tools.free_port(), "ADMIN_PORT": tools.free_port()}
    node = environment | ports | {"TENANTS_FILE": file, "NODE_ID": "with-file", "BIND_ADDRESS": "127.0.0.1", "REDIS__CONNECTION": ""}
    process = processes.start("with-file", [program, "gateway"], node)
    processes.started("with-file", process, f"http://127.0.0.1:{ports['PORT']}/readyz")
    tenant = json.loads(tools.get(f"http://127.0.0.1:{ports['ADMIN_PORT']}/admin/v1/tenants/t1")[1])
    url = tomllib.loads(file.read_text())["TENANT_AUTH_MAP"]["t1"]
    expect(tenant.get("auth_url", "").rstrip("/") == url, f"tenants.example.toml: {tenant}")


def described(folder):
    """The container, and its environment from ConfigMap and example Secret, with ports that are free here."""
    base = k8s.rendered()["k8s"]
    container = k8s.find(base, "Deployment")["spec"]["template"]["spec"]["containers"][0]
    secret = yaml.safe_load((k8s.K8S / "gateway.secret.example.yaml").read_text())["stringData"]
    environment = k8s.find(base, "ConfigMap")["data"] | secret
    outside = {"redis": str(tools.free_port()), "hook": str(tools.free_port())}
    environment["REDIS__CONNECTION"] = f"127.0.0.1:{outside['redis']}"
    tenants = json.loads(environment["TENANT_AUTH_MAP"])
    environment["TENANT_AUTH_MAP"] = json.dumps({tenant: f"http://127.0.0.1:{outside['hook']}" for tenant in tenants})
    environment |= {"PORT": str(tools.free_port()), "GRPC_PORT": str(tools.free_port())}
    return container, environment, outside


def fields(container, pod, address, grpc_port):
    """What Kubernetes makes of the container's `env` in that pod; the port is the one chosen here."""
    known = {"metadata.name": pod, "status.podIP": address}
    values = {}
    for each in container["env"]:
        if "valueFrom" in each:
            values[each["name"]] = known[each["valueFrom"]["fieldRef"]["fieldPath"]]
        else:
            value = re.sub(r"\$\((\w+)\)", lambda found: values[found[1]], each["value"])
            values[each["name"]] = re.sub(r":\d+$", f":{grpc_port}", value)
    return values


def only_clients(expect, pod, address, node, base):
    for path in ("/debug/actors", "/debug/events"):
        expect(tools.get(base + path)[0] == 404, f"{pod}: {path} on the clients' port")
    expect(tools.get(f"http://{address}:{node['ADMIN_PORT']}/healthz")[0] == 0, f"{pod}: operators' port is not on the loopback only")
    expect(speaks_http2(address, node["GRPC_PORT"]), f"{pod}: no node gRPC on GRPC_PORT")
    expect(not speaks_http2(address, node["PORT"]), f"{pod}: node gRPC on the clients' port")


def speaks_http2(address, port):
    """The peer answers an HTTP/2 preface with a SETTINGS frame."""
    import socket

    with socket.create_connection((address, int(port)), 5) as connection:
        connection.sendall(PREFACE)
        connection.settimeout(5)
        try:
            answer = connection.recv(9)
        except OSError:
            return False
    return len(answer) >= 4 and answer[3] == 4


def across(expect, program, urls):
    """Messages from users of the first node to users of the second: the address in Redis leads there."""
    load = [
        program,
        "load",
        "--url",
        urls[0],
        "--recipientUrl",
        urls[1],
        "--tenantId",
        "t1",
        "--connections",
        "4",
        "--mode",
        "single-chat",
        "--sendQpsPerConn",
        "20",
        "--durationSeconds",
        "2",
        "--json",
    ]
    result = subprocess.run(load, capture_output=True, text=True, timeout=60)
    expect(result.returncode == 0, f"from node to node: {result.stdout[-800:]}{result.stderr[-400:]}")
