#!/bin/sh
# kill_resume.sh RECAST SOURCE KILLS [options] -- SIGKILLs a conversion at random moments, KILLS times in all, and lets it go on after
# each; whenever it gets to its end, the bytes must be those of an undisturbed run. SOURCE is a checkpoint or a GGUF, for `recast
# convert`, or a recipe (.json), for `recast build`. Prints how often it was killed and how often it came to its end.
set -u
recast=$1 source=$2 kills=$3
shift 3
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-kill.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT INT TERM
case "$source" in
*.json) verb=build name=x ;;
*) verb=convert name=x.gguf ;;
esac

run() { "$recast" "$verb" "$source" -o "$work/$name" -q "$@"; }
bytes() { # of all that was made
    (cd "$work" && find x* -type f | LC_ALL=C sort | xargs sha256sum)
}

start=$(date +%s%N)
run "$@" >/dev/null || exit 1
ms=$((($(date +%s%N) - start) / 1000000 + 20))
right=$(bytes)
rm -r "${work:?}"/x*

killed=0 ended=0 resumed=0
while [ "$killed" -lt "$kills" ]; do
    "$recast" "$verb" "$source" -o "$work/$name" -q --journal "${JOURNAL:-0.05}" "$@" >/dev/null 2>"$work/err" &
    pid=$!
    # anywhere in a run, its very beginning and its end included
    wait_ms=$(($(od -An -N4 -tu4 /dev/urandom) % ms))
    sleep "$((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000)))"
    if kill -9 $pid 2>/dev/null; then killed=$((killed + 1)); fi
    wait $pid 2>/dev/null
    status=$?
    for j in "$work"/.x*.journal "$work"/.x*/.*.journal; do [ -f "$j" ] && resumed=$((resumed + 1)); done
    # a kill between the last rename and the exit leaves everything in place
    if [ "$status" = 0 ] || { [ "$status" = 137 ] && { [ -e "$work/$name" ] || ls "$work"/x-00001-of-* >/dev/null 2>&1; }; }; then
        ended=$((ended + 1))
        [ "$(bytes)" = "$right" ] || { echo "WRONG BYTES after $killed kills"; exit 1; }
        rm -r "${work:?}"/x*
    elif [ "$status" != 137 ]; then
        echo "exit $status: $(cat "$work/err")"
        exit 1
    fi
done
run "$@" >/dev/null || exit 1
[ "$(bytes)" = "$right" ] || { echo "WRONG BYTES at the end"; exit 1; }
[ -z "$(ls -A "$work" | grep -v '^err$\|^x')" ] || { echo "left behind: $(ls -A "$work")"; exit 1; }
echo "$killed kills, $resumed times something to go on from, $((ended + 1)) complete files, all right"
