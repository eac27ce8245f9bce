#!/bin/bash
# test.sh - every test there is: release build with -Werror, the same under AddressSanitizer + UBSan, threads under
# ThreadSanitizer, short fuzzing, planted faults that must be caught, golden values, a training and a serving run.
# Installs what it needs from Debian's packages. Ends with `N passed, N failed`; exit status 1 on a failure.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
cd "$root"
. scripts/lib.sh

out=build-test # apart from build/, which holds what a user runs
passed=0
failed=0
mkdir -p "$out"

# shellcheck disable=SC2086
install_packages $BUILD_PACKAGES g++ libcriterion-dev libcurl4-openssl-dev python3 python3-venv curl openssl clang-format valgrind libhdf5-dev

verdict() { # verdict STATUS NAME: counts and says it
    if [ "$1" = 0 ]; then
        passed=$((passed + 1))
    else
        failed=$((failed + 1))
        printf 'FAILED: %s\n' "$2"
    fi
}

count_meson() { # count_meson DIR WHAT: the results of the last `meson test` there
    local log="$1/meson-logs/testlog.json" counts
    counts=$(python3 - "$log" "$2" <<'PY'
import json, sys
ok = bad = 0
for line in open(sys.argv[1]):
    test = json.loads(line)
    if test["result"] == "OK":
        ok += 1
    elif test["result"] == "SKIP":
        print(f"skipped: {sys.argv[2]}: {test['name']}: {test.get('stdout', '').strip()}", file=sys.stderr)
    else:
        bad += 1
        print(f"FAILED: {sys.argv[2]}: {test['name']} ({test['result']})", file=sys.stderr)
        print("\n".join((test.get("stdout", "") + test.get("stderr", "")).splitlines()[-25:]), file=sys.stderr)
print(ok, bad)
PY
) || counts="0 1"
    passed=$((passed + ${counts% *}))
    failed=$((failed + ${counts#* }))
    printf '%s: %s passed, %s failed\n' "$2" "${counts% *}" "${counts#* }"
}

run_suite() { # run_suite DIR WHAT [meson test option ...]
    local directory=$1 what=$2
    shift 2
    rm -f "$directory/meson-logs/testlog.json"
    # one more than there are cores: tests of servers wait as often as they work
    meson test -C "$directory" --no-rebuild --print-errorlogs --num-processes $(($(nproc) + 1)) "$@" >"$directory/tests.log" 2>&1 || true
    count_meson "$directory" "$what"
}

reports() { # reports DIR: fails the run when a sanitizer wrote there
    local files
    files=$(find "$1" -type f 2>/dev/null)
    [ -z "$files" ] || { echo "$files" | head -n 3 | xargs head -n 40; }
    verdict "$([ -z "$files" ] && echo 0 || echo 1)" "sanitizer reports in $1"
}

say "release build, -Werror"
build_in build -Dwerror=true -Dtests=enabled -Dgpu_archs=80,90 # what gates.py looks at; all four take twice the time
GPU_PLANTED_PER_FILE=1 run_suite build "release" # all of them: meson test --suite gpu

if command -v clang-format >/dev/null; then
    status=0
    find bench clients core examples models proto server tests trainer \( -name '*.[ch]' -o -name '*.cpp' -o -name '*.cu' \) \
        -exec clang-format --dry-run -Werror {} + \
        >"$out/format.log" 2>&1 || status=1
    [ $status = 0 ] || head -n 20 "$out/format.log"
    verdict $status "clang-format"
fi

say "AddressSanitizer and UndefinedBehaviorSanitizer"
# Criterion exits 0 over a leak, and a server's child may be killed: what counts is the log files.
rm -rf "$out/asan-reports" && mkdir -p "$out/asan-reports"
build_in "$out/asan" -Dbuildtype=debugoptimized -Dwerror=true -Dtests=enabled -Dgpu=disabled -Db_sanitize=address,undefined -Db_lundef=false
ASAN_OPTIONS="detect_leaks=1:log_path=$root/$out/asan-reports/asan" \
LSAN_OPTIONS="log_path=$root/$out/asan-reports/lsan" \
UBSAN_OPTIONS="print_stacktrace=1:halt_on_error=1:log_path=$root/$out/asan-reports/ubsan" \
    run_suite "$out/asan" "address, undefined" --timeout-multiplier 6
reports "$out/asan-reports"

say "the same server at saturation for 20 seconds"
status=0
BUILD=$out/asan scripts/soak.sh 0.34 --probe-ms 200 --grow-kib 32768 >"$out/soak.log" 2>&1 || status=1
tail -n $((1 + 40 * status)) "$out/soak.log"
verdict $status "scripts/soak.sh"

say "ThreadSanitizer"
rm -rf "$out/tsan-reports" && mkdir -p "$out/tsan-reports"
TARGETS=thread-tests build_in "$out/tsan" -Dbuildtype=debugoptimized -Dtests=enabled -Dgpu=disabled -Db_sanitize=thread -Db_lundef=false
TSAN_OPTIONS="halt_on_error=0:exitcode=66:log_path=$root/$out/tsan-reports/tsan" \
    run_suite "$out/tsan" "threads" --suite threads --timeout-multiplier 6
reports "$out/tsan-reports"

say "fuzzing: a second of each target"
rm -rf "$out/fuzz/findings"
status=0
JOBS=$(nproc) scripts/fuzz.sh "$(awk "BEGIN { print 0.5 / $(nproc) }")" >"$out/fuzz.log" 2>&1 || status=1
if [ $status = 0 ]; then tail -n 1 "$out/fuzz.log"; else tail -n 60 "$out/fuzz.log"; fi
verdict $status "scripts/fuzz.sh"

say "planted faults: each must turn its run red"
planted() { # planted FAULT DIR: of a sanitized build
    local fault=$1 directory=$2 target=tests/planted/planted_$1 where="$root/$out/plant-$1-reports" found
    rm -rf "$where" && mkdir -p "$where"
    if ! TARGETS="$target" build_in "$directory"; then
        verdict 1 "the planted $fault does not build"
        return
    fi
    ASAN_OPTIONS="detect_leaks=1:log_path=$where/asan" LSAN_OPTIONS="log_path=$where/lsan" \
    UBSAN_OPTIONS="log_path=$where/ubsan" TSAN_OPTIONS="log_path=$where/tsan" \
        timeout 60 "$directory/$target" >"$out/plant-$fault.log" 2>&1 || true # a race may as well hang
    found=$(find "$where" -type f | head -n 1)
    [ -z "$found" ] || grep -hE 'ERROR|WARNING|SUMMARY' "$found" | head -n 2
    verdict "$([ -n "$found" ] && echo 0 || echo 1)" "the planted $fault was not caught"
}
planted leak "$out/asan"
planted overflow "$out/asan"
planted race "$out/tsan"

say "golden values"
golden_on() { # golden_on WHERE "OPTIONS OF EBM-GOLDEN" DIR ...
    local where=$1 options=$2
    shift 2
    status=0
    # shellcheck disable=SC2086
    build/tests/ebm-golden $options "$@" >"$out/golden.log" || status=1
    printf '%s: ' "$where"
    tail -n 1 "$out/golden.log"
    grep -E 'FAIL|not built' "$out/golden.log" && status=1
    verdict $status "golden values, $where: $*"
}
golden() { # golden DIR ...: both devices of the CPU, and the CUDA code on it as far as it is built (docs/GPU.md)
    local sim=build/tests/gpu_sim
    golden_on cpu "--device cpu" "$@"
    golden_on reference "--device reference" "$@"
    [ ! -e $sim/cuda_plain.so ] || golden_on "CUDA source" "--plugin $sim/cuda_plain.so" "$@"
    [ ! -e $sim/fake/cuda_fake.so ] ||
        LD_LIBRARY_PATH=$sim/fake GPU_SIM_PTX=$sim/fake/ptx_cuda_90.so \
            golden_on "CUDA binary" "--plugin $sim/fake/cuda_fake.so" "$@"
}
golden tests/golden/*/
if [ -d ../shared/golden ]; then
    golden ../shared/golden/toy_relu ../shared/golden/toy_tanh ../shared/golden/vector_3d ../shared/golden/resnet18_width8
    status=0
    build/tests/ebm-log-space ../shared/golden/toy_relu ../shared/golden/toy_tanh ../shared/golden/vector_3d \
        >"$out/log-space.log" || status=1
    tail -n 1 "$out/log-space.log"
    grep FAIL "$out/log-space.log" || true
    verdict $status "log space"
fi

say "the Python client and Triton's; beside them the interface and its description, every link of the documentation"
beside() { # beside NAME SCRIPT [ARGUMENT ...]: its log, and how it ended; for what works on one core
    local name=$1 status=0
    shift
    "$@" >"$out/$name.log" 2>&1 || status=1
    echo $status >"$out/$name.status"
}
rm -f "$out"/*.status
{
    beside python-client scripts/test-python-client.sh build/server/ebm-server "$out/python-client"
    beside triton-client scripts/test-triton-client.sh build/server/ebm-server "$out/triton-client"
} &
EXAMPLES=40 beside schemathesis scripts/schemathesis.sh build/server/ebm-server "$out/schemathesis"
beside site scripts/make_site.sh build "$out/site"
wait
for name in python-client triton-client schemathesis site; do
    status=$(cat "$out/$name.status")
    if [ "$status" != 0 ] && [ $name = schemathesis ]; then
        sed -n '/FAILURES/,$p' "$out/$name.log" | cut -c 1-400 | head -n 60
    elif [ "$status" != 0 ]; then
        tail -n 40 "$out/$name.log"
    fi
    verdict "$status" "$name"
done

say "quick start"
status=0
scripts/quickstart.sh >"$out/quickstart.log" 2>&1 || status=1
[ $status = 0 ] || tail -n 30 "$out/quickstart.log"
verdict $status "scripts/quickstart.sh"

echo
echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
