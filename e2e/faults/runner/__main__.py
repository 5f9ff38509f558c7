"""Finds the client, then hands over to it: the suite itself runs in the Python that has confluent-kafka."""

import os
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent.parent / "conformance/runner"))

import setup  # noqa: E402

python = setup.python()[0]
os.execv(python, [str(python), str(HERE / "suite.py"), *sys.argv[1:]])
