"""The commands that README shows, and what it says that they print.

Owns nothing that runs. Must never leave out a line of the block that it is asked for: what a reader types is what is tested.
"""

import pathlib


def block(file, heading):
    """Commands of the first block of code under a heading, each with the lines that it prints."""
    lines = iter(pathlib.Path(file).read_text().splitlines())
    for line in lines:
        if line == heading:
            break
    else:
        raise LookupError(f"{file} has no {heading!r}")
    for line in lines:
        if line.startswith("```"):
            break
    steps = []
    for line in lines:
        if line.startswith("```"):
            return steps
        if line.startswith("$ "):
            steps.append((line[2:], []))
        else:
            steps[-1][1].append(line)
    raise LookupError(f"{file}: the block under {heading!r} does not end")


def script(steps):
    """One script that runs every command and stops at the first that fails; each is preceded by its number."""
    lines = ["set -e"]
    for number, (command, _) in enumerate(steps):
        lines += [f"echo '=== {number}'", command]
    return "\n".join(lines) + "\n"


def printed(text):
    """What each command of a script has printed, by its number."""
    found = {}
    for line in text.splitlines():
        if line.startswith("=== "):
            current = found.setdefault(int(line[4:]), [])
        else:
            current.append(line)
    return found
