"""Runs the cases against Apache Kafka and against Ottla, and says how each went.

Owns order, concurrency and the verdict. A case counts as passed when it is green everywhere: red on Ottla is a fault of
Ottla, red on Kafka a fault of the case. The last line is `N passed, N failed`.
"""

import argparse
import os
import signal
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import report
import setup
from cases import load
from targets import Kafka, Ottla, Three

ROOT = Path(__file__).resolve().parents[3]


def arguments():
    parser = argparse.ArgumentParser(prog="e2e/conformance/run.sh")
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--whole", action="store_true")
    size.add_argument("--slice", action="store_true")
    parser.add_argument("--only", action="append", default=[], metavar="CLIENT[:WORD]")
    parser.add_argument("--against", choices=["kafka", "ottla", "three"])
    parser.add_argument("--keep", action="store_true", help="keep the scratch folder, with what every step printed")
    return parser.parse_args()


def chosen(cases, options):
    def wanted(case):
        if options.slice and not case.slice:
            return False
        return not options.only or any(
            case.client == only.split(":")[0] and only.partition(":")[2] in case.name for only in options.only)

    return [case for case in cases if wanted(case)]


def run_on(target, cases, scratch, say, stopping):
    """All cases on one target, one after another: what they measure is behaviour, and some change the whole broker."""
    outcomes = {}
    for number, case in enumerate(cases, 1):
        if stopping.is_set():
            break
        if target.kills_brokers and case.killed:
            say(f"{target.name:<6} {number:>3}/{len(cases)} not asked  {case.client}: {case.name}: {case.killed}")
            continue
        began = time.monotonic()
        problem = case.run(target, scratch / target.name / f"{number:03}", f"{target.name}-{number}")
        if problem is None and (gone := target.gone()):
            problem = gone
        outcomes[case.key] = problem
        took = time.monotonic() - began
        say(f"{target.name:<6} {number:>3}/{len(cases)} {'ok  ' if problem is None else 'FAIL'} {took:>5.1f} s  "
            f"{case.client}: {case.name}" + (f"\n{indent(problem)}" if problem else ""))
    return outcomes


def indent(text):
    return "\n".join(f"         {line}" for line in str(text).splitlines()[-25:])


def main():
    options = arguments()
    cases = chosen(load(), options)
    if not cases:
        sys.exit("no such case")
    setup.prepare({case.client for case in cases})
    scratch = Path(tempfile.mkdtemp(prefix="ottla-conformance-"))
    kinds = [kind for kind in (Kafka, Ottla, Three) if options.against in (None, kind.name)]
    if options.slice and options.against is None:
        # Whoever kills brokers takes more time than a slice has.
        kinds.remove(Three)
    lock, stopping = threading.Lock(), threading.Event()

    def say(line):
        with lock:
            print(line, flush=True)

    targets = []
    began = time.time()
    # A run that is stopped from outside (its budget is over) must not leave its brokers behind.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("stopped"))
    pool = ThreadPoolExecutor(len(kinds))
    try:
        for kind in kinds:
            targets.append(kind(ROOT, scratch))
            say(f"{kind.name}: {targets[-1].version} at {targets[-1].bootstrap}")
        runs = {t.name: pool.submit(run_on, t, cases, scratch, say, stopping) for t in targets}
        outcomes = {name: run.result() for name, run in runs.items()}
    finally:
        stopping.set()
        # First the brokers: what still waits for one of them ends then as well.
        for target in targets:
            target.stop()
        pool.shutdown(wait=False, cancel_futures=True)

    if options.whole and len(targets) == len(kinds) == 3:
        report.write(ROOT, cases, outcomes, {t.name: t.version for t in targets}, time.time() - began)
    failed = [c for c in cases if any(found.get(c.key) is not None for found in outcomes.values())]
    for case in failed:
        verdict = ", ".join(f"{name} {'green' if found.get(case.key) is None else 'red'}" for name, found in outcomes.items())
        print(f"failed: {case.client}: {case.name} ({verdict})")
    if options.keep or failed:
        print(f"what each step printed is under {scratch}")
    else:
        setup.remove(scratch)
    if len(targets) < 2:
        print(f"only against {targets[0].name}: this compares nothing")
    print(f"{len(cases) - len(failed)} passed, {len(failed)} failed")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    os.chdir(ROOT)
    main()
