"""The records that cases send, in the notation of clients/README.md, and how what came back is compared."""

import time


def tohex(data):
    return "-" if data is None else data.hex()


def various():
    """Keys, values and headers that are null, empty, short, long and not ASCII, with rising timestamps, on three partitions."""
    # Not older than any retention, and not in the future.
    began = int(time.time() * 1000) - 3_600_000
    keys = [None, b"", b"key", "schl\u00fcssel".encode(), bytes(range(256))]
    values = [b"value", None, b"", "wert \u20ac \U0001f980".encode() * 20, b"\x00" * 3000, b"ab" * 40_000]
    headers = ["", "a:-", "a:", "a:31,a:32,b:" + bytes(range(32)).hex(), "trace:" + b"x".hex() * 200]
    lines = []
    for number in range(150):
        # 5, 6 and 5 have the product 150 only with this spread: every key meets every value and every header.
        key, value = keys[number % 5], values[number % 6]
        header = headers[(number // 30) % 5]
        lines.append(f"{number % 3}\t{began + number}\t{tohex(key)}\t{tohex(value)}\t{header}")
    return lines


def numbered(count, partitions):
    began = int(time.time() * 1000) - 3_600_000
    return [f"{n % partitions}\t{began + n}\t{tohex(b'k%d' % n)}\t{tohex(b'v%d' % n)}\t" for n in range(count)]


def difference(sent, seen, blind):
    """The first thing that is wrong, or None. `blind` names what a client's library cannot tell apart."""
    wanted = {}
    for record in sent:
        partition, *rest = record.split("\t")
        wanted.setdefault(partition, []).append(rest)
    found = {}
    for record in seen:
        partition, offset, *rest = record.split("\t")
        found.setdefault(partition, []).append((int(offset), rest))
    for partition, records in wanted.items():
        got = sorted(found.pop(partition, []))
        offsets = [offset for offset, _ in got]
        if offsets != list(range(len(records))):
            return f"partition {partition} has offsets {offsets[:10]}… and not 0 to {len(records) - 1}"
        for (offset, one), other in zip(got, records):
            if mask(one, blind) != mask(other, blind):
                return f"partition {partition} offset {offset}: sent {brief(other)}, came back {brief(one)}"
    return f"records in partitions {sorted(found)}" if found else None


def mask(record, blind):
    timestamp, key, value, headers = record
    if "null header" in blind:
        headers = headers.replace(":-", ":")
    return timestamp, key, value, headers


def brief(record):
    return [field if len(field) < 40 else field[:40] + "…" for field in record]
