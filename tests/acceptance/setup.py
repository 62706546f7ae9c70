"""Makes the packages of the acceptance available: call `ready()` before importing wire. They come into a cache of the
user's, never into the system."""

import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "deploy"))

import tools  # noqa: E402

PACKAGES = ["websockets==17.4", "grpcio-tools==1.85.1", "confluent-kafka==2.16.1", "PyYAML==6.0.3"]


def ready():
    """Goes on in a Python that has the packages (by exec, once). False when they can't be had."""
    folder = tools.environment_with(PACKAGES, "acceptance")
    if not folder:
        return False
    if pathlib.Path(sys.prefix).resolve() != folder.parent.resolve():
        os.execv(folder / "python", [str(folder / "python"), *sys.argv])
    return True
