"""That compose.yaml, the Dockerfiles, the nginx template and prometheus.yml agree with each other and with the workspace,
that nginx takes the template, and what hadolint says. Builds and starts nothing."""

import pathlib
import re
import shutil
import subprocess
import tempfile
import tomllib

import tools
import yaml

ROOT = tools.ROOT
DOCKER = ROOT / "deploy/docker"


def check(expect):
    """Calls `expect(holds, mistake)` for everything that must hold."""
    services = yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]
    compose(expect, services)
    dockerfiles(expect)
    nginx(expect, services["nginx"]["environment"])


def compose(expect, services):
    documented = set(re.findall(r"`([A-Za-z_]+)`", (ROOT / "docs/config.md").read_text()))
    for name, service in services.items():
        if "build" in service:
            build = service["build"]
            expect((DOCKER / build["context"] / build["dockerfile"]).is_file(), f"{name}: no {build['dockerfile']}")
            unknown = set(service["environment"]) - documented
            expect(not unknown, f"{name}: not in docs/config.md: {sorted(unknown)}")
        for volume in service.get("volumes", []):
            expect((DOCKER / volume.split(":")[0]).exists(), f"{name}: {volume} is mounted and not there")

    gateways = [name for name in services if name.startswith("gateway-")]
    for name in gateways:
        environment = services[name]["environment"]
        port = environment["PORT"]
        expect(environment["NODE_ID"] == name, f"{name}: NODE_ID")
        expect(environment["PUBLIC_ENDPOINT"] == f"http://{name}:{port}", f"{name}: PUBLIC_ENDPOINT")
    addresses = [f"{name}:{services[name]['environment']['PORT']}" for name in gateways]
    servers = services["nginx"]["environment"]["MICS_SERVERS"]
    expect(re.findall(r"server (\S+)", servers) == addresses, "nginx: MICS_SERVERS is not the list of gateways")
    jobs = yaml.safe_load((DOCKER / "prometheus.yml").read_text())["scrape_configs"]
    expect(jobs[0]["static_configs"][0]["targets"] == addresses, "prometheus.yml: not the list of gateways")


def dockerfiles(expect):
    files = [DOCKER / f"Dockerfile.{name}" for name in ("gateway", "hookmock")]
    stages = [re.search(r"^FROM rust.*?(?=^FROM debian)", file.read_text(), re.S | re.M)[0] for file in files]
    expect(stages[0] == stages[1], "the Dockerfiles differ in their stage `build`")
    for member in tomllib.loads((ROOT / "Cargo.toml").read_text())["workspace"]["members"]:
        expect(member == "." or f"COPY {member}/Cargo.toml {member}/" in stages[0], f"Dockerfiles: {member} is not copied")
    if hadolint := tools.python_tool("hadolint"):
        # Versions of Debian's packages are those of the base image.
        result = subprocess.run([hadolint, "--ignore", "DL3008", *files], capture_output=True, text=True, cwd=ROOT)
        expect(result.returncode == 0, f"hadolint:\n{result.stdout}{result.stderr}")


def nginx(expect, variables):
    template = (ROOT / "deploy/nginx/mics.conf.template").read_text()
    named = {key for key in variables if key.startswith("MICS_")}
    expect(set(re.findall(r"\$\{(\w+)\}", template)) == named, "nginx: variables")
    program = tools.program("nginx", "its template was not tried")
    if not program:
        return
    # As in the container, with names that this machine can resolve.
    values = variables | {"MICS_SERVERS": re.sub(r"server [^:]+", "server 127.0.0.1", variables["MICS_SERVERS"])}
    with tempfile.TemporaryDirectory() as folder:
        conf = pathlib.Path(folder, "conf.d/mics.conf")
        conf.parent.mkdir()
        conf.write_text(re.sub(r"\$\{(\w+)\}", lambda found: str(values[found[1]]), template))
        main = shutil.copy(ROOT / "deploy/nginx/nginx.conf", folder)
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        conf.with_name("temp.conf").write_text("\n".join(f"{kind}_temp_path {folder}/{kind};" for kind in kinds))
        command = [program, "-t", "-e", "stderr", "-p", folder, "-c", main, "-g", f"pid {folder}/nginx.pid;"]
        result = subprocess.run(command, capture_output=True, text=True)
        expect(result.returncode == 0, f"nginx: {result.stderr}")
