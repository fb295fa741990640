#!/bin/sh
# run.sh BUILD [--update] -- runs every unit test program and every command-line script, and closes with one line of counts.
#
# A command-line test is tests/cli/NAME.sh: it runs in an empty directory with $RECAST (the program) and $TOP (the project) set; what it
# prints, stderr included, must equal tests/cli/NAME.expected. --update writes those files anew: read the difference before you
# commit it. A script that ends with status 77 is skipped; its last line says why.
#
#   ONLY=PATTERN       run only the tests whose name matches (test_core_*, kill)
#   TEST_LIMIT=N       seconds that one test program may take (300)
set -u
# Tests send themselves SIGINT; a shell that was started in the background would make them ignore it.
if [ -z "${RECAST_TEST_SIGNALS:-}" ] && env --default-signal=INT true 2>/dev/null; then
    exec env --default-signal=INT RECAST_TEST_SIGNALS=1 sh "$0" "$@"
fi
cd "$(dirname "$0")/.."
case "$1" in /*) build=$1 ;; *) build=$PWD/$1 ;; esac
update=${2:-}
passed=0 failed=0 skipped=0
work=$(mktemp -d "${TMPDIR:-/tmp}/recast-test.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT # when the test at hand has ended
trap 'exit 143' TERM
export TMPDIR=$work LC_ALL=C
# leaks at exit of a forked Criterion worker are found by the sanitizer as usual
export ASAN_OPTIONS=${ASAN_OPTIONS:-detect_leaks=1:allocator_may_return_null=1} UBSAN_OPTIONS=${UBSAN_OPTIONS:-print_stacktrace=1}

wanted() { # NAME
    case "$1" in ${ONLY:-*}) ;; *) return 1 ;; esac
}
limit="timeout -k 5 ${TEST_LIMIT:-300}"

for test in "$build"/tests/test_*; do
    case "$test" in *.d | *.o) continue ;; esac
    [ -f "tests/unit/$(basename "$test").c" ] || continue # left from an older tree
    wanted "$(basename "$test")" || continue
    log=$work/log
    $limit "$test" --verbose --color=never >"$log" 2>&1
    status=$?
    line=$(grep -a 'Synthesis: Tested:' "$log" | tail -n 1)
    ok=$(printf '%s' "$line" | sed -n 's/.*Passing: \([0-9]*\).*/\1/p')
    bad=$(printf '%s' "$line" | sed -n 's/.*Failing: \([0-9]*\) | Crashing: \([0-9]*\).*/\1 \2/p' | awk '{print $1 + $2}')
    skip=$(grep -ac '\[SKIP\]' "$log")
    [ -n "$line" ] || { ok=0 bad=1; }
    [ "$status" = 0 ] || [ "$bad" != 0 ] || bad=1
    # Criterion exits 0 when a sanitizer complains at the exit of a test's process
    ! grep -aq 'SUMMARY: .*Sanitizer' "$log" || [ "$bad" != 0 ] || bad=1
    passed=$((passed + ok)) failed=$((failed + bad)) skipped=$((skipped + skip))
    echo "$(basename "$test"): $ok passed, $bad failed"
    [ "$bad" = 0 ] || cat "$log"
done

export RECAST=$build/recast TOP=$PWD
for script in tests/cli/*.sh; do
    name=$(basename "$script" .sh)
    wanted "$name" || continue
    mkdir "$work/$name"
    (cd "$work/$name" && HOME=$work/$name $limit sh "$TOP/$script") >"$work/$name.out" 2>&1 </dev/null
    status=$?
    chmod -R u+rwx "$work/$name"
    if [ "$status" = 77 ]; then
        skipped=$((skipped + 1))
        echo "cli $name: skipped: $(tail -n 1 "$work/$name.out")"
        continue
    fi
    if [ "$update" = --update ]; then cp "$work/$name.out" "tests/cli/$name.expected"; fi
    if cmp -s "$work/$name.out" "tests/cli/$name.expected"; then
        passed=$((passed + 1))
        echo "cli $name: passed"
    else
        failed=$((failed + 1))
        echo "cli $name: FAILED"
        diff -u "tests/cli/$name.expected" "$work/$name.out"
    fi
done

echo "$passed passed, $failed failed, $skipped skipped"
[ "$failed" = 0 ] && [ "$passed" -gt 0 ]
