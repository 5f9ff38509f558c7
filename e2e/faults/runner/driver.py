"""`nodes` for whoever drives it from Python: the script as a module, and ports for it.

Owns nothing that runs. Suites of other folders use it as well; it must not need anything but Python.
"""

import importlib.machinery
import importlib.util
import random
import socket
from pathlib import Path

NODES = Path(__file__).resolve().parents[1] / "nodes"


def load():
    """The script as a module: it knows how to ask a single broker for Metadata."""
    loader = importlib.machinery.SourceFileLoader("nodes", str(NODES))
    module = importlib.util.module_from_spec(importlib.util.spec_from_loader("nodes", loader))
    loader.exec_module(module)
    return module


def free_base(count):
    """A port such that it and those that `nodes` derives from it are free."""
    while True:
        base = random.randrange(21000, 32000)
        try:
            for port in (base + index + more for index in range(count) for more in (0, 100, 200)):
                with socket.socket() as one:
                    one.bind(("127.0.0.1", port))
            return base
        except OSError:
            continue
