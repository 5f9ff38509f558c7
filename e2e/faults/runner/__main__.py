"""Finds the client and a room of its own, then hands over: the suite itself runs in the Python that has confluent-kafka.

As root the suite gets a network, mounts and process ids that nobody else sees: whatever it does to links, rules and disks
is gone with its last process, and with it every process, however it ends. Otherwise it says what it cannot try.
"""

import os
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "conformance/runner"))

import setup  # noqa: E402

# bash collects what its children leave behind, as the first process has to.
ENCLOSE = ["unshare", "--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc", "--", "bash", "-c",
           'ip link set lo up && "$@"; exit $?', "bash"]


def can_enclose():
    try:
        return subprocess.run([*ENCLOSE, "true"], capture_output=True).returncode == 0
    except FileNotFoundError:
        return False


python = setup.python()[0]
command = [str(python), str(HERE / "suite.py"), *sys.argv[1:]]
# Fetched while the network is there.
if "--whole" in sys.argv or "kafka" in sys.argv:
    setup.classpath()
if can_enclose():
    os.environ["FAULTS_ENCLOSED"] = "1"
    command = [*ENCLOSE, *command]
os.execvp(command[0], command)
