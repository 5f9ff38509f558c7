#!/usr/bin/env bash
# Every decoder against random and mutated bytes, guided by coverage (libFuzzer on stable Rust).
#
#   e2e/fuzz/run.sh --whole           ten minutes per target; writes docs/results/fuzz.md
#   e2e/fuzz/run.sh --slice           some seconds per target, for `make test`
#   e2e/fuzz/run.sh --only TARGET     one target; may be repeated
#   e2e/fuzz/run.sh --seconds N       this long per target
#   e2e/fuzz/run.sh --jobs N          so many targets at a time (as many as there are cores)
#
# What the search learns stays in ~/.cache/ottla/fuzz; inputs that break something go to .ottla/fuzz.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec python3 "$here/runner.py" "$@"
