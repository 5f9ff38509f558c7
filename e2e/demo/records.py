#!/usr/bin/env python3
"""Turns a data set of vega-datasets into records: one JSON object a line with key, value, headers and timestamp.

    e2e/demo/records.py FOLDER flights|earthquakes|stocks

Owns what of each data set becomes key, header and time. Writes to stdout and nowhere else.
"""

import csv
import json
import os
import sys
from datetime import datetime, timezone


def milliseconds(text, form):
    return int(datetime.strptime(text, form).replace(tzinfo=timezone.utc).timestamp() * 1000)


def flights(folder):
    """Keyed by the airport of departure; the time is that of the departure."""
    with open(os.path.join(folder, "flights-20k.json"), encoding="utf-8") as file:
        rows = json.load(file)
    for row in rows:
        late = "yes" if row["delay"] > 15 else "no"
        yield row["origin"], row, {"dataset": "flights-20k", "late": late}, milliseconds(row["date"], "%Y/%m/%d %H:%M")


def earthquakes(folder):
    """Keyed by the network that reported it; the time is that of the earthquake."""
    with open(os.path.join(folder, "earthquakes.json"), encoding="utf-8") as file:
        features = json.load(file)["features"]
    for feature in sorted(features, key=lambda feature: feature["properties"]["time"]):
        about = feature["properties"]
        longitude, latitude, depth = feature["geometry"]["coordinates"]
        value = {"id": feature["id"], "magnitude": about["mag"], "place": about["place"], "longitude": longitude,
                 "latitude": latitude, "depth": depth, "felt": about["felt"], "significance": about["sig"]}
        headers = {"dataset": "earthquakes", "kind": about["type"], "status": about["status"]}
        yield about["net"], value, headers, about["time"]


def stocks(folder):
    """Keyed by symbol; the time is the first day of the month."""
    with open(os.path.join(folder, "stocks.csv"), encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        value = {"symbol": row["symbol"], "date": row["date"], "price": float(row["price"])}
        yield row["symbol"], value, {"dataset": "stocks"}, milliseconds(row["date"], "%b %d %Y")


SETS = {"flights": flights, "earthquakes": earthquakes, "stocks": stocks}


def main():
    if len(sys.argv) != 3 or sys.argv[2] not in SETS:
        sys.exit(__doc__)
    try:
        for key, value, headers, timestamp in SETS[sys.argv[2]](sys.argv[1]):
            record = {"key": key, "value": value, "headers": headers, "timestamp": timestamp}
            sys.stdout.write(json.dumps(record, separators=(",", ":")) + "\n")
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


if __name__ == "__main__":
    main()
