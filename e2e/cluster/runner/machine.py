"""What a cluster must leave alone: the machine's links, routes, mounts, rules and kernel settings, as text to compare.

Owns which settings change by themselves. Reads only.
"""

import pathlib
import re
import shutil
import subprocess

# Counters and the like, which no cluster is needed to change.
RESTLESS = re.compile(
    r"fs\.(aio-nr|dentry-state|file-nr|inode-nr|inode-state|quota\..*|dquots)|kernel\.(random\..*|ns_last_pid|pty\.nr|tainted|"
    r"perf_event_max_sample_rate|perf_cpu_time_max_percent)|net\.netfilter\.nf_conntrack_count")
COMMANDS = {
    "links": ["ip", "-details", "link", "show"],
    "addresses": ["ip", "address", "show"],
    "routes": ["ip", "route", "show", "table", "all"],
    "routes of IPv6": ["ip", "-6", "route", "show", "table", "all"],
    "routing rules": ["ip", "rule", "show"],
    "packet filter": ["nft", "list", "ruleset"],
}


def settings():
    """Every file under /proc/sys that can be read, but for the restless ones."""
    found = {}
    top = pathlib.Path("/proc/sys")
    for path in sorted(top.rglob("*")):
        name = str(path.relative_to(top)).replace("/", ".")
        if path.is_file() and not RESTLESS.fullmatch(name):
            try:
                found[name] = path.read_text(errors="replace")
            except OSError:
                # Some are only written to.
                continue
    return found


def snapshot():
    """Names and texts; two snapshots of a machine that was left alone are equal."""
    found = {"mounts": pathlib.Path("/proc/self/mountinfo").read_text()}
    for name, command in COMMANDS.items():
        program = shutil.which(command[0], path="/usr/sbin:/sbin:/usr/bin:/bin")
        text = subprocess.run([program, *command[1:]], capture_output=True, text=True).stdout if program else ""
        # What is left of a lease runs down.
        found[name] = re.sub(r"(valid_lft|preferred_lft|expires) \d+sec", r"\1", text)
    return found, settings()


def changes(before, after):
    """What differs, a line each. Settings that are new came with a kernel module that was loaded; they are no change."""
    lines = []
    for name in before[0]:
        old, new = before[0][name].splitlines(), after[0][name].splitlines()
        lines += [f"{name}: gone: {line}" for line in old if line not in new]
        lines += [f"{name}: new: {line}" for line in new if line not in old]
        if old != new and sorted(old) == sorted(new):
            lines.append(f"{name}: in another order")
    for name, value in before[1].items():
        if after[1].get(name) != value:
            lines.append(f"sysctl {name}: {value.strip()!r} became {(after[1].get(name) or 'nothing').strip()!r}")
    return lines
