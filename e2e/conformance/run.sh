#!/usr/bin/env bash
# Foreign clients against Apache Kafka, against Ottla, and against three brokers of which one after another is killed.
#
#   e2e/conformance/run.sh --whole                 every case; writes docs/compatibility.md and docs/results/conformance.md
#   e2e/conformance/run.sh --slice                 the cases marked for `make test`
#   e2e/conformance/run.sh --only CLIENT[:WORD]    one client's cases (whose name contains WORD); may be repeated
#   e2e/conformance/run.sh --against kafka|ottla|three   only one of them (for developing)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec python3 "$here/runner" "$@"
