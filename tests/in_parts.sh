#!/usr/bin/env bash
# `make deep`: what `make test` leaves out, in parts, with the seconds that each took.
#     bash tests/in_parts.sh PYTEST-COMMAND...
set -uo pipefail
failed=0
part() { # NAME MARKS [PYTEST-ARGUMENTS...]
    local name=$1 marks=$2
    shift 2
    printf '\n== %s\n' "$name"
    local begun=$SECONDS
    "${pytest[@]}" -q -m "$marks" "$@"
    local code=$?
    [ "$code" = 0 ] || [ "$code" = 5 ] || failed=1 # 5: no test of this kind
    took+=("$(printf '%5d s  %s%s' $((SECONDS - begun)) "$name" "$([ "$code" = 0 ] || [ "$code" = 5 ] || echo ' (failed)')")")
}
pytest=("$@")
took=()
part "properties, on all their examples" "hypothesis and not gpu"
part "matrices, races and whole sweeps" "deep and not hypothesis and not gpu and not cluster"
part "a Ray cluster, by one process" "cluster" -n 0
part "training on GPUs, pretended where there are none" "deep and gpu"
printf '\n== how long the parts took\n'
printf '%s\n' "${took[@]}"
exit $failed
