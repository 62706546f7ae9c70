#!/usr/bin/env python3
"""Checks deploy/ without Docker: that compose.yaml, the Dockerfiles, the nginx template and prometheus.yml agree with each
other and with the workspace, and that nginx takes the template where nginx is installed. It builds and starts nothing.
Needs Python 3.11 and PyYAML; without them: SKIP and exit status 0."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

try:
    import tomllib

    import yaml
except ImportError as missing:
    sys.exit(print(f"SKIP deploy: {missing.name} is missing"))

ROOT = pathlib.Path(__file__).resolve().parents[2]
DOCKER = ROOT / "deploy/docker"
services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
dockerfiles = [(DOCKER / f"Dockerfile.{name}").read_text() for name in ("gateway", "hookmock")]
gateways = [name for name in services if name.startswith("gateway-")]
nginx = services["nginx"]["environment"]
mistakes = []


def expect(holds, mistake):
    if not holds:
        mistakes.append(mistake)


documented = set(re.findall(r"`([A-Za-z_]+)`", (ROOT / "docs/config.md").read_text()))
for name, service in services.items():
    if "build" in service:
        build = service["build"]
        expect((DOCKER / build["context"] / build["dockerfile"]).is_file(), f"{name}: no {build['dockerfile']}")
        unknown = set(service["environment"]) - documented
        expect(not unknown, f"{name}: not in docs/config.md: {sorted(unknown)}")
    for volume in service.get("volumes", []):
        expect((DOCKER / volume.split(":")[0]).exists(), f"{name}: {volume} is mounted and not there")

for name in gateways:
    environment = services[name]["environment"]
    port = environment["PORT"]
    expect(environment["NODE_ID"] == name, f"{name}: NODE_ID")
    expect(environment["PUBLIC_ENDPOINT"] == f"http://{name}:{port}", f"{name}: PUBLIC_ENDPOINT")
addresses = [f"{name}:{services[name]['environment']['PORT']}" for name in gateways]
expect(re.findall(r"server (\S+)", nginx["MICS_SERVERS"]) == addresses, "nginx: MICS_SERVERS is not the list of gateways")
jobs = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
expect(jobs[0]["static_configs"][0]["targets"] == addresses, "prometheus.yml: not the list of gateways")

stages = [re.search(r"^FROM rust.*?(?=^FROM debian)", text, re.S | re.M)[0] for text in dockerfiles]
expect(stages[0] == stages[1], "the Dockerfiles differ in their stage `build`")
for member in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]:
    expect(member == "." or f"COPY {member}/Cargo.toml {member}/" in stages[0], f"Dockerfiles: {member} is not copied")

template = (ROOT / "deploy/nginx/mics.conf.template").read_text()
expect(set(re.findall(r"\$\{(\w+)\}", template)) == {key for key in nginx if key.startswith("MICS_")}, "nginx: variables")
if program := shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin"):
    # As in the container, with names that this machine can resolve.
    values = nginx | {"MICS_SERVERS": re.sub(r"server [^:]+", "server 127.0.0.1", nginx["MICS_SERVERS"])}
    with tempfile.TemporaryDirectory() as folder:
        conf = pathlib.Path(folder, "conf.d/mics.conf")
        conf.parent.mkdir()
        conf.write_text(re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), template))
        main = shutil.copy(ROOT / "deploy/nginx/nginx.conf", folder)
        temporary = (f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
        conf.with_name("temp.conf").write_text("\n".join(temporary))
        command = [program, "-t", "-e", "stderr", "-p", folder, "-c", main, "-g", f"pid {folder}/nginx.pid;"]
        result = subprocess.run(command, capture_output=True, text=True)
        expect(result.returncode == 0, f"nginx: {result.stderr}")
else:
    print("nginx is missing: its template was not tried")

print(*mistakes, sep="\n", end="\n" if mistakes else "")
print(f"deploy: {len(mistakes)} mistakes")
sys.exit(1 if mistakes else 0)
