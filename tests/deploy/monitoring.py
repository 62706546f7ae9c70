#!/usr/bin/env python3
"""Checks deploy/monitoring: rules with their unit tests, Alertmanager's file, dashboards, the runbook. Then a real
Prometheus scrapes real gateways, fires an alert, and a real Alertmanager hands it to a webhook. What is missing is said
loudly; without Prometheus' tools nothing is left to check: SKIP and exit status 0."""

import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "acceptance"))

import setup  # noqa: E402
import tools  # noqa: E402

if not shutil.which("promtool"):
    sys.exit(print("SKIP monitoring: promtool is missing (Debian: prometheus)"))
if not setup.ready():
    sys.exit(print("SKIP monitoring: the Python packages are missing"))

import monitoring_live  # noqa: E402
import yaml  # noqa: E402

FOLDER = tools.ROOT / "deploy/monitoring"
RUNBOOK = tools.ROOT / "docs/ops/runbook.md"
# What operators of older installations know: expression without white space, and `for`. Must not change.
KEPT = {
    "MicsGatewayHookFailureRateHigh": (
        'sumby(tenant,op)(rate(mics_hook_requests_total{result!="ok"}[5m]))/sumby(tenant,op)(rate(mics_hook_requests_total[5m]))>0.05',
        "10m",
    ),
    "MicsGatewayGrpcForwardFailures": ("sumby(tenant,status)(rate(mics_grpc_forward_failed_total[5m]))>1", "5m"),
    "MicsGatewayWsHeartbeatTimeouts": ("sumby(tenant)(rate(mics_ws_heartbeat_timeouts_total[5m]))>0", "5m"),
    "MicsGatewayDeadNodeCleanupDetected": ("increase(mics_dead_node_cleanups_total[10m])>0", None),
    "MicsGatewayRateLimitingHigh": ("sumby(tenant,kind)(rate(mics_rate_limited_total[5m]))>10", "5m"),
}
# Of other exporters and of Prometheus itself.
FOREIGN = {
    "up",
    "ALERTS",
    "container_cpu_usage_seconds_total",
    "container_memory_working_set_bytes",
    "kube_pod_container_resource_limits",
    "kube_pod_container_resource_requests",
    "node_cpu_seconds_total",
}
mistakes = []


def expect(holds, mistake):
    if not holds:
        mistakes.append(mistake)


def run(*command):
    return subprocess.run([str(word) for word in command], capture_output=True, text=True, cwd=FOLDER)


def succeeds(*command):
    result = run(*command)
    expect(result.returncode == 0, f"{' '.join(map(str, command))}: {result.stdout}{result.stderr}")


def rules():
    return [rule for group in yaml.safe_load((FOLDER / "mics.rules.yaml").read_text())["groups"] for rule in group["rules"]]


def files():
    succeeds(sys.executable, FOLDER / "generate.py", "--check")
    succeeds("promtool", "check", "rules", "mics.rules.yaml", "watchdog.rules.yaml")
    succeeds("promtool", "check", "config", "prometheus.yml")
    succeeds("promtool", "test", "rules", "mics.rules.test.yaml")
    made = yaml.safe_load((tools.ROOT / "deploy/k8s/monitoring/gateway-prometheusrule.yaml").read_text())
    expect(made["spec"] == yaml.safe_load((FOLDER / "mics.rules.yaml").read_text()), "the PrometheusRule has other rules")
    if tools.program("amtool", "alertmanager.yml was not checked"):
        succeeds("amtool", "check-config", "alertmanager.yml")
        for labels, receivers in (
            ("severity=critical", "mkat,on-call"),
            ("severity=warning", "mkat,mail"),
            ("severity=critical tenant=t1", "mkat-tenants,on-call"),
            ("severity=none alertname=Watchdog", "mkat"),
        ):
            result = run("amtool", "config", "routes", "test", "--config.file=alertmanager.yml", *labels.split())
            expect(result.stdout.strip() == receivers, f"alertmanager.yml: {labels} goes to {result.stdout}")


def every_alert_is_tested(alerts):
    """With rules that never fire, the unit tests must miss each alert; with rules that always do, it must come unasked."""
    for instead, shows in (("vector(0) > 1", r'exp: [^\n]*alertname="{}"[^\n]*\n +got: nil'), ("vector(1)", r'exp: nil\n +got: [^\n]*alertname="{}"')):
        with tempfile.TemporaryDirectory() as folder:
            shutil.copy(FOLDER / "mics.rules.test.yaml", folder)
            changed = yaml.safe_load((FOLDER / "mics.rules.yaml").read_text())
            for rule in (rule for group in changed["groups"] for rule in group["rules"] if "alert" in rule):
                rule["expr"] = instead
            pathlib.Path(folder, "mics.rules.yaml").write_text(yaml.safe_dump(changed))
            result = run("promtool", "test", "rules", pathlib.Path(folder, "mics.rules.test.yaml"))
        for name in alerts:
            expect(re.search(shows.format(name), result.stdout + result.stderr), f"{name}: the unit tests pass with the expression `{instead}`")


def documents(alerts):
    for name, (expression, lasting) in KEPT.items():
        rule = alerts[name]
        expect((re.sub(r"\s", "", rule["expr"]), rule.get("for")) == (expression, lasting), f"{name} is not as operators know it")
    headings = re.findall(r"^### (MicsGateway\w+)$", RUNBOOK.read_text(), re.M)
    expect(sorted(headings) == sorted(alerts), f"runbook.md: {sorted(set(headings) ^ set(alerts))}, twice: {len(headings) - len(set(headings))}")
    for name, rule in alerts.items():
        expect(rule["annotations"]["runbook_url"].endswith(f"/docs/ops/runbook.md#{name.lower()}"), f"{name}: runbook_url")
        expect(rule["labels"]["severity"] in ("warning", "critical"), f"{name}: severity")
    named = set(re.findall(r"MicsGateway\w+", (FOLDER / "alertmanager.yml").read_text()))
    expect(named <= set(alerts), f"alertmanager.yml: no such alerts: {named - set(alerts)}")


def exported():
    """Metric -> labels, from the table that the gateway registers. Histograms with the names of their series."""
    source = (tools.ROOT / "actors/runtime/src/metrics.rs").read_text()
    metrics = {}
    for name, buckets, labels in re.findall(r"^        (\w+) (\w+ )?\[([^\]]*)\] \"", source, re.M):
        named = set(re.findall(r'"(\w+)"', labels))
        for end in ("_bucket", "_sum", "_count") if buckets else ("",):
            metrics[f"mics_{name}{end}"] = named | ({"le"} if end == "_bucket" else set())
    return metrics


def expressions():
    """(where, expression) of every rule, every panel and every query of the document, one a line."""
    for block in re.findall(r"```promql\n(.*?)```", (tools.ROOT / "docs/ops/monitoring.md").read_text(), re.S):
        yield from (("monitoring.md", line) for line in block.splitlines() if not line.startswith("#"))
    for rule in rules():
        yield rule.get("alert") or rule["record"], rule["expr"]
    for board, described in yaml.safe_load((FOLDER / "dashboards.yaml").read_text()).items():
        yield from ((f"{board}: variable {name}", query) for name, query in described.get("variables", {}).items())
        for panel in described["panels"]:
            yield from ((f"{board}: {panel['title']}", query) for query in panel["queries"].values())


def queries():
    """Every metric that is asked for exists, with the labels that are used; returns the metrics' names."""
    known, recorded, used = exported(), {rule["record"] for rule in rules() if "record" in rule}, set()
    expect(len(known) > 60, f"only {len(known)} metrics found in metrics.rs")
    for where, expression in expressions():
        plain = re.sub(r'"[^"]*"', '""', expression)
        names = set(re.findall(r"\b(mics_\w+|mics:[\w:]+)", plain))
        expect(names <= known.keys() | recorded, f"{where}: no such metrics: {names - known.keys() - recorded}")
        for name, matchers in re.findall(r"\b(mics_\w+)\{([^}]*)\}", plain):
            labels = set(re.findall(r"(\w+)\s*[=!]", matchers)) - {"instance", "job"}
            expect(labels <= known.get(name, labels), f"{where}: {name} has no labels {labels}")
        if "mics:" not in plain and len(names) == 1:
            grouped = {label for group in re.findall(r"\bby \(([^)]*)\)", plain) for label in re.split(r",\s*", group)}
            expect(grouped <= known[min(names)] | {"instance", "le"}, f"{where}: grouped by {grouped}")
        others = set(re.findall(r"\b([a-z]+(?:_[a-z]+){2,})\b", plain)) - names - FOREIGN
        expect(not {each for each in others if each.endswith(("_total", "_seconds", "_bytes"))}, f"{where}: unknown metrics {others}")
        used |= names & known.keys()
    return used


def main():
    alerts = {rule["alert"]: rule for rule in rules() if "alert" in rule}
    files()
    every_alert_is_tested(alerts)
    documents(alerts)
    used = queries()
    # The panels' own syntax, with Grafana's variables filled in.
    with tempfile.NamedTemporaryFile("w", suffix=".yaml") as file:
        panels = [re.sub(r"\$\w+", ".*", each) for where, each in expressions() if "label_values" not in each]
        checked = [{"record": f"panel:{number}", "expr": each} for number, each in enumerate(panels)]
        yaml.safe_dump({"groups": [{"name": "panels", "rules": checked}]}, file)
        file.flush()
        succeeds("promtool", "check", "rules", file.name)
    monitoring_live.check(expect, used)
    print(*mistakes, sep="\n", end="\n" if mistakes else "")
    print(f"monitoring: {len(alerts)} alerts, {len(used)} metrics in use, {len(mistakes)} mistakes, {len(tools.skipped)} parts skipped")
    sys.exit(1 if mistakes else 0)


main()
