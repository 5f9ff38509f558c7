"""Cases shown one after another, for suites that need no nodes: how they are told, and how they wait.

Each case stands alone; one that fails prints its words, and the rest is still tried. Nothing waits by the clock: each wait is
for something, with a deadline.
"""

import time
import traceback

PATIENCE = 60


def expect(true, otherwise):
    if not true:
        raise AssertionError(otherwise)


def until(what, holds):
    """Waits until `holds` is true; `what` tells, or is, what was waited for."""
    ends = time.monotonic() + PATIENCE
    while not holds():
        expect(time.monotonic() < ends, f"not within {PATIENCE} s: {what() if callable(what) else what}")
        time.sleep(0.2)


def perform(cases):
    """Plays every case and says how many passed."""
    failed = 0
    for case in cases:
        name = case.__name__.replace("_", " ")
        try:
            case()
            print(f"ok     {name}", flush=True)
        except Exception:
            failed += 1
            print(f"FAILED {name}\n{traceback.format_exc()}", flush=True)
    print(f"{len(cases) - failed} passed, {failed} failed")
    raise SystemExit(failed > 0)
