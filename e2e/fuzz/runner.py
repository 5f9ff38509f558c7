"""Builds the fuzz targets with coverage, runs each for a while, reports.

Owns the flags that make libFuzzer work on stable Rust: LLVM's coverage pass is asked for by name. Only our code and its
dependencies are instrumented, never build scripts, hence the explicit --target. A target's verdict is libFuzzer's exit
code: a panic, a time-out (10 s) or more than 512 MiB is a finding, and the input that shows it is kept.
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.append(str(ROOT / "e2e/page"))
import page  # noqa: E402

CACHE = Path.home() / ".cache" / "ottla"
FINDINGS = ROOT / ".ottla" / "fuzz"
COVERAGE = [
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Ccodegen-units=1",
    "--cfg=fuzzing",
]
PROFILE = {"LTO": "off", "DEBUG_ASSERTIONS": "true", "OVERFLOW_CHECKS": "true", "DEBUG": "line-tables-only"}
LIMITS = ["-rss_limit_mb=512", "-timeout=10", "-max_len=16384", "-len_control=20", "-print_final_stats=1"]
WHOLE_SECONDS = 600
SLICE_SECONDS = 15


def host():
    about = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return re.search(r"^host: (\S+)$", about, re.M)[1]


def build():
    triple, target_dir = host(), CACHE / "fuzz-target"
    env = dict(os.environ, RUSTFLAGS=" ".join(COVERAGE), CARGO_TARGET_DIR=str(target_dir))
    env |= {f"CARGO_PROFILE_RELEASE_{name}": value for name, value in PROFILE.items()}
    print("building the targets with coverage", flush=True)
    subprocess.run(
        ["cargo", "build", "--locked", "--release", "-p", "ottla-fuzz", "--features", "libfuzzer", "--target", triple],
        cwd=ROOT, env=env, check=True)
    return target_dir / triple / "release" / "ottla-fuzz"


def targets():
    """Names and what they cover, as the list in lib.rs has them."""
    text = (ROOT / "e2e/fuzz/src/lib.rs").read_text()
    return dict(re.findall(r'name: "(\S+)",\s*covers: "([^"]+)"', text))


def run(binary, name, seconds):
    corpus, seeds, findings = CACHE / "fuzz" / name, CACHE / "fuzz-seeds" / name, FINDINGS / name
    for folder in (corpus, seeds, findings):
        folder.mkdir(parents=True, exist_ok=True)
    env = dict(os.environ, OTTLA_FUZZ_TARGET=name, OTTLA_FUZZ_SEEDS=str(seeds))
    command = [binary, *LIMITS, f"-max_total_time={seconds}", f"-artifact_prefix={findings}/", corpus, seeds]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace")
    number = lambda pattern: int((re.findall(pattern, done.stdout) or ["0"])[-1])
    found = {
        "name": name, "runs": number(r"number_of_executed_units:\s*(\d+)"), "memory": number(r"peak_rss_mb:\s*(\d+)"),
        "coverage": number(r"cov: (\d+)"), "corpus": number(r"corp: (\d+)"), "broken": done.returncode != 0,
    }
    if found["broken"]:
        print("\n".join(done.stdout.splitlines()[-40:]))
        print(f"{name}: broken; the input is in {findings}. To see it again:\n"
              f"  OTTLA_FUZZ_TARGET={name} {binary} {findings}/<file>")
    print(f"{name}: {found['runs']} inputs, {found['coverage']} edges, {found['memory']} MiB"
          f"{', BROKEN' if found['broken'] else ''}", flush=True)
    return found


def report(results, covers, seconds, jobs):
    lines = [
        "# Fuzzing", "", *page.origin("make fuzz"),
        f"* each target: {seconds} s of libFuzzer, guided by coverage, {jobs} targets at a time; a panic, 10 s or 512 MiB is a finding",
        "",
        "| target | covers | inputs | edges | corpus | peak memory | findings |", "|---|---|--:|--:|--:|--:|---|"]
    for found in results:
        lines.append(f"| {found['name']} | {covers[found['name']]} | {found['runs']:,} | {found['coverage']:,} | "
                     f"{found['corpus']:,} | {found['memory']} MiB | {'**broken**' if found['broken'] else 'none'} |")
    page.write("fuzz", lines)


def main():
    parser = argparse.ArgumentParser(prog="e2e/fuzz/run.sh")
    parser.add_argument("--whole", action="store_true")
    parser.add_argument("--slice", action="store_true")
    parser.add_argument("--only", action="append", default=[])
    parser.add_argument("--seconds", type=int)
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="targets at a time")
    given = parser.parse_args()
    covers = targets()
    unknown = [name for name in given.only if name not in covers]
    if unknown:
        parser.error(f"no target {unknown[0]}; there are {', '.join(covers)}")
    seconds = given.seconds or (WHOLE_SECONDS if given.whole else SLICE_SECONDS)
    binary = build()
    with ThreadPoolExecutor(given.jobs) as pool:
        results = list(pool.map(lambda name: run(binary, name, seconds), given.only or covers))
    if given.whole and not given.only:
        report(results, covers, seconds, given.jobs)
    broken = sum(found["broken"] for found in results)
    print(f"{len(results) - broken} passed, {broken} failed")
    sys.exit(1 if broken else 0)


main()
