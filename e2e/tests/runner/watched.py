"""Who was away at the same time, told by a watch of Pods.

Owns that judgement. Pure: it is given what `kubectl get pods --watch --output-watch-events -o json` prints. Every change is there, in the
order in which it was written: what lasted a moment is not overlooked. Must never count a Pod as there that is asked to go.
"""

import json


def is_ready(pod):
    """Whether clients are sent to it: it is Ready, and nobody has asked it to go."""
    conditions = pod["status"].get("conditions", [])
    return "deletionTimestamp" not in pod["metadata"] and any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)


def events(text):
    """The events of a watch; of the last one a part may be missing."""
    decoder, at = json.JSONDecoder(), 0
    while (at := len(text) - len(text[at:].lstrip())) < len(text):
        try:
            event, at = decoder.raw_decode(text, at)
        except json.JSONDecodeError:
            return
        yield event


def away(seen, names):
    """Which of the Pods with these names were away, from the moment on at which all were there: each set once, in order."""
    ready, steps = {}, []
    for event in seen:
        pod = event["object"]
        ready[pod["metadata"]["name"]] = event["type"] != "DELETED" and is_ready(pod)
        now = frozenset(name for name in names if not ready.get(name))
        if (steps or not now) and (not steps or steps[-1] != now):
            steps.append(now)
    return steps


def batches(steps):
    """Who went, in order: those of one batch together, which is over when all are there again."""
    found = []
    for before, now in zip(steps, steps[1:]):
        if not before:
            found.append(set())
        found[-1] |= now
    return found
