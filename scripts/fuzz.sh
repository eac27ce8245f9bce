#!/bin/bash
# fuzz.sh - libFuzzer over every parser (tests/fuzz), with AddressSanitizer and UndefinedBehaviorSanitizer.
#
#   scripts/fuzz.sh MINUTES [TARGET ...]    so long in all, each target an equal share; prints a line a target and a total
#   scripts/fuzz.sh --keep [TARGET ...]     takes what earlier runs found, and reaches new code, into tests/fuzz/corpus
#
# JOBS=N runs so many targets at a time (default: 1). What is found grows in build-test/fuzz/corpus from run to run; what
# crashes, leaks or hangs lies in build-test/fuzz/findings afterwards, and the exit status is 1.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh

out=build-test/fuzz
[ $# -ge 1 ] || { sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2; }
minutes=$1
shift
all=$(cd tests/fuzz && ls fuzz_*.c | sed 's/^fuzz_//; s/\.c$//')
targets=${*:-$all}

# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES clang libclang-rt-14-dev
programs=""
for target in $targets; do
    programs="$programs tests/fuzz/fuzz_$target"
done
CC=clang TARGETS="$programs" build_in "$out/build" -Dbuildtype=debugoptimized -Dfuzz=true \
    -Db_sanitize=address,undefined -Db_lundef=false
# Freed memory of one input stays unused long enough with 8 MiB of it; more only costs time.
export OPENBLAS_NUM_THREADS=1 UBSAN_OPTIONS=print_stacktrace=1 \
    ASAN_OPTIONS=quarantine_size_mb=8:malloc_context_size=12

# An input may take 20 seconds, on a busy machine too, and 512 MiB; what is longer than 4 KiB is not tried.
run_one() { # run_one TARGET SECONDS: the log lies in $out/TARGET.log
    local target=$1 seconds=$2 options="-max_len=4096 -timeout=20 -rss_limit_mb=512 -print_final_stats=1 -verbosity=1"
    local dictionary=tests/fuzz/dictionaries/$target.dict
    [ ! -f "$dictionary" ] || options="$options -dict=$dictionary"
    mkdir -p "$out/corpus/$target" "$out/findings"
    # shellcheck disable=SC2086
    "$out/build/tests/fuzz/fuzz_$target" $options -max_total_time="$seconds" -artifact_prefix="$out/findings/$target-" \
        "$out/corpus/$target" "tests/fuzz/corpus/$target" >"$out/$target.log" 2>&1 </dev/null ||
        echo failed >>"$out/$target.log"
}

stat_of() { # stat_of TARGET NAME
    sed -n "s/^stat::$2: *//p" "$out/$1.log" | tail -n 1
}

tell() { # tell TARGET: its line of the table; adds to the total
    local target=$1 executed covered
    executed=$(stat_of "$target" number_of_executed_units)
    covered=$(sed -n 's/.* cov: \([0-9]*\) .*/\1/p' "$out/$target.log" | tail -n 1)
    printf '%-16s %12s executions %8s/s %7s edges %7s new inputs\n' "$target" "${executed:-0}" \
        "$(stat_of "$target" average_exec_per_sec)" "${covered:-0}" "$(stat_of "$target" new_units_added)"
    total=$((total + ${executed:-0}))
    if [ "$(tail -n 1 "$out/$target.log")" = failed ]; then
        n_failed=$((n_failed + 1))
        grep -aE -A 12 'ERROR|SUMMARY|runtime error|assertion' "$out/$target.log" | head -n 30
        grep -aE 'Test unit written' "$out/$target.log" || true
    fi
}

if [ "$minutes" = --keep ]; then
    for target in $targets; do
        mkdir -p "$out/corpus/$target"
        "$out/build/tests/fuzz/fuzz_$target" -merge=1 -use_counters=0 -max_len=512 "tests/fuzz/corpus/$target" \
            "$out/corpus/$target" >"$out/$target.log" 2>&1 </dev/null
        printf '%-16s %s\n' "$target" "$(grep -a 'new files' "$out/$target.log" | tail -n 1)"
    done
    exit 0
fi

total=0
n_failed=0
# shellcheck disable=SC2086
seconds=$(awk -v minutes="$minutes" -v jobs="${JOBS:-1}" -v n="$(echo $targets | wc -w)" \
    'BEGIN { s = int(60 * minutes * jobs / n); print s < 1 ? 1 : s }')
for target in $targets; do
    while [ "$(jobs -rp | wc -l)" -ge "${JOBS:-1}" ]; do
        wait -n || true
    done
    run_one "$target" "$seconds" &
done
wait
for target in $targets; do
    tell "$target"
done
echo "total $total executions, $n_failed targets failed"
[ "$n_failed" = 0 ]
