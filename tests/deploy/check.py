#!/usr/bin/env python3
"""Checks deploy/ without Docker and without a cluster: container files, Kubernetes files, scripts, documents. Where the gateway is
built, it is started as the Kubernetes files would start it. Needs Python 3.11 and PyYAML; without them: SKIP and exit
status 0. What else is missing is said, and the rest goes on."""

import sys

try:
    import tomllib  # noqa: F401  (Python 3.11)

    import yaml  # noqa: F401
except ImportError as missing:
    sys.exit(print(f"SKIP deploy: {missing.name} is missing"))

import containers
import documents
import k8s
import k8s_run
import tools

mistakes = []


def expect(holds, mistake):
    if not holds:
        mistakes.append(mistake)


for part in (containers, documents, k8s, k8s_run):
    part.check(expect)
print(*mistakes, sep="\n", end="\n" if mistakes else "")
print(f"deploy: {len(mistakes)} mistakes, {len(tools.skipped)} parts skipped")
sys.exit(1 if mistakes else 0)
