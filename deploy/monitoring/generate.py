#!/usr/bin/env python3
"""Makes what follows from mics.rules.yaml and dashboards.yaml: the PrometheusRule for Kubernetes and the Grafana dashboards.

    deploy/monitoring/generate.py            writes them
    deploy/monitoring/generate.py --check    writes nothing; exit status 1 and the names of files that differ

Needs PyYAML. The made files are committed, so that nobody has to run this to deploy."""

import json
import pathlib
import sys

import yaml

HERE = pathlib.Path(__file__).resolve().parent
RULE = HERE.parent / "k8s/monitoring/gateway-prometheusrule.yaml"
RULE_HEAD = """\
# Made from deploy/monitoring/mics.rules.yaml by deploy/monitoring/generate.py: change it there.
apiVersion: monitoring.coreos.com/v1
kind: PrometheusRule
metadata:
  name: mics-gateway
  labels:
    app: mics-gateway
spec:
"""
WIDTH, HEIGHT = 24, 8


def prometheus_rule():
    """The rules as they are written, two columns further right."""
    lines = (HERE / "mics.rules.yaml").read_text().splitlines()
    rules = lines[lines.index("groups:") :]
    return RULE_HEAD + "\n".join("  " + line if line else "" for line in rules) + "\n"


def variable(name, query):
    """A drop-down list; `query` is what Grafana asks Prometheus for its values."""
    return {
        "name": name,
        "type": "query",
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "query": {"query": query, "refId": name},
        "refresh": 2,
        "includeAll": True,
        "multi": True,
        "allValue": ".*",
        "sort": 1,
        "current": {"text": "All", "value": "$__all"},
    }


def panel(number, described, columns):
    """One panel from `{title, unit?, kind?, help?, queries: {legend: expression}}`."""
    across = WIDTH // columns
    targets = [{"refId": chr(ord("A") + i), "expr": expression, "legendFormat": legend} for i, (legend, expression) in enumerate(described["queries"].items())]
    kind = described.get("kind", "timeseries")
    options = {
        "timeseries": {"legend": {"displayMode": "table", "placement": "right", "calcs": ["lastNotNull", "max"]}},
        "stat": {"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"},
        "table": {},
    }[kind]
    if kind == "table":
        for target in targets:
            target |= {"instant": True, "format": "table"}
    return {
        "id": number + 1,
        "type": kind,
        "title": described["title"],
        "description": described.get("help", ""),
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "gridPos": {"x": number % columns * across, "y": number // columns * HEIGHT, "w": across, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": described.get("unit", "short"), "min": 0}, "overrides": []},
        "options": options,
        "targets": targets,
    }


def dashboard(name, described):
    source = {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    variables = [variable(*item) for item in described.get("variables", {}).items()]
    columns = described.get("columns", 2)
    board = {
        "uid": f"mics-{name}",
        "title": described["title"],
        "description": described["help"],
        "tags": ["mics"],
        "schemaVersion": 39,
        "refresh": "30s",
        "time": {"from": "now-1h", "to": "now"},
        "templating": {"list": [source, *variables]},
        "links": [{"type": "dashboards", "title": "MICS", "tags": ["mics"], "asDropdown": False, "keepTime": True}],
        "panels": [panel(number, each, columns) for number, each in enumerate(described["panels"])],
    }
    return json.dumps(board, indent=1) + "\n"


def made():
    """Path -> content of every made file."""
    boards = yaml.safe_load((HERE / "dashboards.yaml").read_text())
    files = {HERE / f"grafana/mics-{name}.json": dashboard(name, described) for name, described in boards.items()}
    return files | {RULE: prometheus_rule()}


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        sys.exit(__doc__)
    stale = [path for path, content in made().items() if not path.is_file() or path.read_text() != content]
    for path in stale:
        print(path.relative_to(HERE.parents[1]), "differs from its source" if check else "written")
        if not check:
            path.write_text(made()[path])
    sys.exit(1 if check and stale else 0)


if __name__ == "__main__":
    main()
