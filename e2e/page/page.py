"""How a page of results begins: where its numbers come from.

Owns those lines and the folder docs/results. Must never know what was measured.
"""

import os
import platform
import subprocess
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def commit():
    """The commit that the tree is of, and whether it is only that."""
    def git(*words):
        return subprocess.run(["git", *words], cwd=ROOT, capture_output=True, text=True).stdout.strip()
    return git("rev-parse", "--short=12", "HEAD") + (" with local changes" if git("status", "--porcelain", "-uno", "--", ":!docs") else "")


def machine():
    memory = next(line for line in open("/proc/meminfo") if line.startswith("MemTotal"))
    return f"{os.cpu_count()} cores, {int(memory.split()[1]) // (1 << 20)} GiB, {platform.system()} {platform.release()}"


def origin(command, seconds=None, beside="", detail=""):
    """The first lines below a title. `beside` says what else was on the machine, `detail` what `command` does not."""
    lines = [f"* command: `{command}`{detail}", f"* commit: {commit()}", f"* date: {time.strftime('%Y-%m-%d %H:%M UTC', time.gmtime())}",
             f"* machine: {machine()}{beside}"]
    return lines if seconds is None else [*lines, f"* took: {seconds / 60:.1f} minutes"]


def write(name, lines):
    folder = ROOT / "docs/results"
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.md").write_text("\n".join(lines).rstrip() + "\n")
