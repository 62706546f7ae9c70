"""The Kubernetes files: rendered by kustomize, held against the schemas, against docs/config.md and against each other.
Starts nothing (k8s_run.py does)."""

import os
import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib

import tools
import yaml

ROOT = tools.ROOT
K8S = ROOT / "deploy/k8s"
FILES = """gateway.configmap.yaml gateway.deployment.yaml gateway.service.yaml gateway.headless.service.yaml gateway.hpa.yaml
gateway.ingress.yaml gateway.pdb.yaml gateway.networkpolicy.yaml gateway.secret.example.yaml
monitoring/gateway-servicemonitor.yaml monitoring/gateway-prometheusrule.yaml README.md""".split()
VERSIONS = ["1.25.0", "1.29.0", "1.33.0", "1.37.0"]
# DRAIN_TIMEOUT_SECONDS is for everything but the end of the process itself.
AFTER_DRAIN = 2


def check(expect):
    """Calls `expect(holds, mistake)` for everything that must hold."""
    for name in FILES:
        expect((K8S / name).is_file(), f"deploy/k8s: no {name}")
    trees = rendered()
    schemas(expect, trees)
    for name, objects in trees.items():
        one_tree(expect, name, objects)
    monitors(expect)
    scripts(expect)


def rendered():
    """Name of a tree -> its objects. Without kubectl: only the base, read file by file."""
    if not tools.program("kubectl", "the overlays were not rendered"):
        base = yaml.safe_load((K8S / "kustomization.yaml").read_text())["resources"]
        return {"k8s": [yaml.safe_load((K8S / name).read_text()) for name in base]}
    trees = {"k8s": K8S, "dev": ROOT / "deploy/overlays/dev", "production": ROOT / "deploy/overlays/production"}
    with tempfile.TemporaryDirectory() as folder:
        # As the comment in the overlay says: with the line `components` switched on.
        copy = pathlib.Path(folder, "deploy")
        shutil.copytree(ROOT / "deploy", copy)
        production = copy / "overlays/production/kustomization.yaml"
        production.write_text(production.read_text().replace("# components:", "components:"))
        trees["production with components"] = copy / "overlays/production"
        return {name: render(tree) for name, tree in trees.items()}


def render(tree):
    text = subprocess.run(["kubectl", "kustomize", tree], check=True, capture_output=True, text=True).stdout
    return list(yaml.safe_load_all(text))


def find(objects, kind, name="mics-gateway"):
    """The object, {} when there is none. Generated names have a hash behind."""
    named = (each for each in objects if each["kind"] == kind and each["metadata"]["name"].startswith(name))
    return next(named, {})


def one_tree(expect, name, objects):
    def holds(condition, mistake):
        expect(condition, f"{name}: {mistake}")

    config = find(objects, "ConfigMap")["data"]
    deployment = find(objects, "Deployment")["spec"]
    pod = deployment["template"]["spec"]
    gateway = pod["containers"][0]
    variables(holds, objects, config, gateway)
    ports(holds, config, gateway)
    lifecycle(holds, config, deployment, pod)
    hardening(holds, objects)
    references(holds, objects, gateway)
    tenants(holds, pod, gateway, expected="components" in name)


def schemas(expect, trees):
    """Each object against the API of several versions; unknown fields are mistakes."""
    validate = tools.python_tool("kubernetes-validate")
    if not validate:
        return
    with tempfile.TemporaryDirectory() as folder:
        files = []
        for name, objects in trees.items():
            files.append(pathlib.Path(folder, f"{name}.yaml"))
            files[-1].write_text(yaml.safe_dump_all(objects))
        for version in VERSIONS:
            command = [validate, "--strict", "--quiet", "-k", version, *files]
            result = subprocess.run(command, capture_output=True, text=True)
            expect(result.returncode == 0, f"Kubernetes {version}: {result.stdout}{result.stderr}")


def known_variables():
    """What `mics config` prints, else the page that is made from it."""
    program = tools.mics()
    page = (ROOT / "docs/config.md").read_text()
    if program:
        page = subprocess.run([program, "config"], capture_output=True, text=True, check=True).stdout
    gateway = page.split("## `mics hookmock`")[0]
    return {name for line in gateway.splitlines() if line.startswith("| `") for name in re.findall(r"`(\w+)`", line.split("|")[1])}


def variables(holds, objects, config, gateway):
    known = known_variables()
    secret = find(objects, "Secret").get("stringData") or yaml.safe_load((K8S / "gateway.secret.example.yaml").read_text())["stringData"]
    own = {each["name"] for each in gateway["env"]} - {"POD_IP"}
    for source, names in (("ConfigMap", set(config)), ("Secret", set(secret)), ("Deployment", own)):
        unknown = {name for name in names - known if not name.startswith("KAFKA_PROP_")}
        holds(not unknown, f"{source}: no such variables: {sorted(unknown)}")
    # Also those that are only shown as comments.
    text = (K8S / "gateway.configmap.yaml").read_text() + (K8S / "gateway.secret.example.yaml").read_text()
    shown = set(re.findall(r"^  # ([A-Z_]+): ", text, re.M))
    holds(all(each in known or each.startswith("KAFKA_PROP_") for each in shown), f"commented variables: {sorted(shown - known)}")
    holds(not {"CLUSTER_GRPC_TOKEN", "TENANT_HOOK_SECRETS"} & set(config), "a secret in the ConfigMap")


def ports(holds, config, gateway):
    offered = {port["name"]: port["containerPort"] for port in gateway["ports"]}
    holds(offered == {"http": int(config["PORT"]), "grpc": int(config["GRPC_PORT"])}, f"ports {offered}")
    env = [each["name"] for each in gateway["env"]]
    holds(env.index("POD_IP") < env.index("PUBLIC_ENDPOINT"), "POD_IP has to stand before PUBLIC_ENDPOINT")
    endpoint = gateway["env"][env.index("PUBLIC_ENDPOINT")]["value"]
    holds(endpoint == f"http://$(POD_IP):{config['GRPC_PORT']}", f"PUBLIC_ENDPOINT {endpoint}")
    for probe, path in (("startupProbe", "/healthz"), ("livenessProbe", "/healthz"), ("readinessProbe", "/readyz")):
        asked = gateway[probe]["httpGet"]
        holds(asked == {"path": path, "port": "http"}, f"{probe}: {asked}")


def lifecycle(holds, config, deployment, pod):
    pause = pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"]
    holds(pause[0] == "sleep", f"preStop: {pause}")
    needed = int(pause[1]) + int(config["DRAIN_TIMEOUT_SECONDS"]) + AFTER_DRAIN
    grace = pod["terminationGracePeriodSeconds"]
    holds(grace > needed, f"terminationGracePeriodSeconds {grace} is not above {needed}")
    rolling = deployment["strategy"]["rollingUpdate"]
    holds(rolling == {"maxSurge": 1, "maxUnavailable": 0}, f"rolling update: {rolling}")
    holds("podAntiAffinity" in pod["affinity"], "no anti-affinity")


def hardening(holds, objects):
    for each in (each for each in objects if each["kind"] == "Deployment"):
        name, pod = each["metadata"]["name"], each["spec"]["template"]["spec"]
        holds(pod["securityContext"].get("runAsNonRoot") is True, f"{name}: may be root")
        holds(pod.get("automountServiceAccountToken") is False, f"{name}: has a token of the API")
        for container in pod["containers"]:
            context = container["securityContext"]
            holds(context.get("readOnlyRootFilesystem") is True, f"{name}: root file system is writable")
            holds(context.get("allowPrivilegeEscalation") is False and context.get("capabilities") == {"drop": ["ALL"]}, f"{name}: capabilities")
            holds("memory" in container["resources"]["limits"] and "cpu" in container["resources"]["requests"], f"{name}: resources")


def references(holds, objects, gateway):
    """Names that one object uses of another."""
    services = [each for each in objects if each["kind"] == "Service" and each["spec"]["selector"] == {"app": "mics-gateway"}]
    offered = {port["name"] for port in gateway["ports"]}
    holds(len(services) == 2, f"{len(services)} services of the gateway")
    for service in services:
        targets = {port["targetPort"] for port in service["spec"]["ports"]}
        holds(targets <= offered, f"{service['metadata']['name']}: ports {targets}")
    ingress = find(objects, "Ingress")["spec"]["rules"]
    paths = [path for rule in ingress for path in rule["http"]["paths"]]
    holds([path["path"] for path in paths] == ["/ws"], "the Ingress leads elsewhere than to /ws")
    holds(paths[0]["backend"]["service"] == {"name": "mics-gateway", "port": {"name": "http"}}, "the Ingress' service")
    scaled = find(objects, "HorizontalPodAutoscaler")
    if scaled:
        holds(scaled["spec"]["scaleTargetRef"]["name"] == "mics-gateway", "HPA: target")
        holds("replicas" not in find(objects, "Deployment")["spec"], "replicas are set though there is an HPA: each apply would reset its choice")
    rules = find(objects, "NetworkPolicy")["spec"]["ingress"]
    by_port = {port["port"]: rule["from"] for rule in rules for port in rule["ports"]}
    holds(set(by_port) == offered, f"NetworkPolicy: ports {sorted(by_port)}")
    holds(by_port["grpc"] == [{"podSelector": {"matchLabels": {"app": "mics-gateway"}}}], "NetworkPolicy: node gRPC is open to others")


def tenants(holds, pod, gateway, expected):
    """The component mounts the folder of the file that it names, and its example has only what such a file may have."""
    file = next((each["value"] for each in gateway["env"] if each["name"] == "TENANTS_FILE"), None)
    holds((file is not None) == expected, f"TENANTS_FILE: {file}")
    if file:
        mounts = {mount["name"]: mount for mount in gateway["volumeMounts"]}
        secrets = {volume["name"]: volume["secret"]["secretName"] for volume in pod["volumes"]}
        holds(mounts["tenants"]["mountPath"] == str(pathlib.PurePosixPath(file).parent) and "subPath" not in mounts["tenants"], f"mounts {mounts}")
        holds(secrets == {"tenants": "mics-gateway-tenants"}, f"volumes {secrets}")
        maps = tomllib.loads((ROOT / "deploy/overlays/tenants/tenants.example.toml").read_text())
        holds(maps.keys() <= known_variables() and "TENANT_AUTH_MAP" in maps, f"tenants.example.toml: {list(maps)}")


def monitors(expect):
    """Each pod is scraped once: the ServiceMonitor matches one Service. Its kinds have no schema in Kubernetes itself."""
    monitor = yaml.safe_load((K8S / "monitoring/gateway-servicemonitor.yaml").read_text())["spec"]
    wanted = monitor["selector"]["matchLabels"].items()
    services = [yaml.safe_load(path.read_text()) for path in sorted(K8S.glob("*service.yaml"))]
    matched = [each for each in services if wanted <= each["metadata"]["labels"].items()]
    expect(len(services) == 2 and len(matched) == 1, f"ServiceMonitor matches {len(matched)} of {len(services)} services")
    endpoint = monitor["endpoints"][0]
    ports = {port["name"] for each in matched for port in each["spec"]["ports"]}
    expect(endpoint["port"] in ports and endpoint["path"] == "/metrics", f"ServiceMonitor: {endpoint}")
    expect({"targetLabel": "job", "replacement": "mics"} in endpoint["relabelings"], "ServiceMonitor: job is not `mics`")


# Options -> exit status and what kubectl is asked for. The stand-in knows no Secret and no namespace.
SELECT = "--selector mics/part notin"
APPLY = {
    (): (
        0,
        [
            "get secret mics-gateway-secret",
            "create secret generic mics-gateway-secret --from-file=CLUSTER_GRPC_TOKEN=/dev/stdin",
            f"apply --kustomize K8S {SELECT} (ingress)",
            "rollout status deployment/mics-gateway --timeout=300s",
        ],
    ),
    ("--overlay", "dev", "--namespace", "im", "--create-namespace", "--with-ingress"): (
        0,
        [
            "get namespace im",
            "create namespace im",
            "--namespace im apply --kustomize K8S/../overlays/dev",
            "--namespace im rollout status deployment/mics-gateway --timeout=300s",
        ],
    ),
    ("--overlay", "dev", "--no-hpa", "--with-monitoring"): (
        0,
        [
            f"apply --kustomize K8S/../overlays/dev {SELECT} (ingress,hpa)",
            "apply --kustomize K8S/monitoring",
            "rollout status deployment/mics-gateway --timeout=300s",
        ],
    ),
    ("--no-hpa", "--with-ingress"): (
        0,
        [
            "get secret mics-gateway-secret",
            "create secret generic mics-gateway-secret --from-file=CLUSTER_GRPC_TOKEN=/dev/stdin",
            f"apply --kustomize K8S {SELECT} (hpa)",
            "scale deployment/mics-gateway --current-replicas=1 --replicas=2",
            "rollout status deployment/mics-gateway --timeout=300s",
        ],
    ),
    ("--overlay", "production"): (1, ["get secret mics-gateway-secret"]),
    ("--overlay", "nowhere"): (2, []),
    ("--create-namespace",): (2, []),
    ("--namespace",): (2, []),
    ("--unknown",): (2, []),
}
DELETE = {
    ("--namespace", "im", "--with-monitoring", "--with-ingress"): (
        0,
        ["--namespace im delete --ignore-not-found --kustomize K8S/monitoring", "--namespace im delete --ignore-not-found --kustomize K8S"],
    ),
    ("--no-hpa",): (0, [f"delete --ignore-not-found --kustomize K8S {SELECT} (ingress,hpa)"]),
    ("--create-namespace",): (2, []),
    ("--unknown",): (2, []),
}
STAND_IN = """#!/bin/sh
echo "$*" >>"$CALLS"
case "$*" in
  *"get secret"* | *"get namespace"*) exit 1 ;;
  *"create secret"*) cat >/dev/null ;;
esac
"""


def scripts(expect):
    """apply.sh and delete.sh with a stand-in for kubectl that writes down what it's asked for."""
    with tempfile.TemporaryDirectory() as folder:
        kubectl = pathlib.Path(folder, "kubectl")
        kubectl.write_text(STAND_IN)
        kubectl.chmod(0o755)
        for script, cases in (("apply.sh", APPLY), ("delete.sh", DELETE)):
            for options, (status, asked) in cases.items():
                calls = pathlib.Path(folder, "calls")
                calls.write_text("")
                environment = os.environ | {"PATH": f"{folder}:{os.environ['PATH']}", "CALLS": str(calls)}
                result = subprocess.run([K8S / "scripts" / script, *options], env=environment, capture_output=True, text=True)
                said = calls.read_text().replace(str(K8S), "K8S").splitlines()
                expect((result.returncode, said) == (status, asked), f"{script} {options}: {result.returncode}, {said}, {result.stderr}")
    if shellcheck := tools.program("shellcheck", "scripts were not looked at"):
        files = [*sorted((K8S / "scripts").glob("*.sh")), ROOT / "scripts/acceptance.sh"]
        result = subprocess.run([shellcheck, "-x", "-P", "SCRIPTDIR", *files], capture_output=True, text=True)
        expect(result.returncode == 0, f"shellcheck:\n{result.stdout}")
