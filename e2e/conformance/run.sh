#!/usr/bin/env bash
# Foreign clients against Apache Kafka and against Ottla, the same cases in one command.
#
#   e2e/conformance/run.sh --whole                 every case; writes docs/compatibility.md and docs/results/conformance.md
#   e2e/conformance/run.sh --slice                 the cases marked for `make test`
#   e2e/conformance/run.sh --only CLIENT[:WORD]    one client's cases (whose name contains WORD); may be repeated
#   e2e/conformance/run.sh --against kafka|ottla   only one of the two (for developing; says nothing about Ottla alone)
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
exec python3 "$here/runner" "$@"
