#!/bin/sh
# kill_resume.sh RECAST SOURCE KILLS [convert options] -- SIGKILLs a conversion at random moments, KILLS times in all, and lets it go on after
# each; whenever it gets to its end, the bytes must be those of an undisturbed run. Prints how often it was killed and how often it
# came to its end.
set -u
recast=$1 source=$2 kills=$3
shift 3
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-kill.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT INT TERM

start=$(date +%s%N)
"$recast" convert "$source" -o "$work/right.gguf" -q "$@" >/dev/null || exit 1
ms=$((($(date +%s%N) - start) / 1000000 + 20))
right=$(sha256sum <"$work/right.gguf")
rm "$work/right.gguf"

killed=0 ended=0 resumed=0
while [ "$killed" -lt "$kills" ]; do
    "$recast" convert "$source" -o "$work/x.gguf" -q --journal 0.05 "$@" >/dev/null 2>"$work/err" &
    pid=$!
    # anywhere in a run, its very beginning and its end included
    wait_ms=$(($(od -An -N4 -tu4 /dev/urandom) % ms))
    sleep "$((wait_ms / 1000)).$(printf %03d $((wait_ms % 1000)))"
    if kill -9 $pid 2>/dev/null; then killed=$((killed + 1)); fi
    wait $pid 2>/dev/null
    status=$?
    for j in "$work"/.x.gguf.*.journal; do [ -f "$j" ] && resumed=$((resumed + 1)); done
    if [ "$status" = 0 ]; then
        ended=$((ended + 1))
        [ "$(sha256sum <"$work/x.gguf")" = "$right" ] || { echo "WRONG BYTES after $killed kills"; exit 1; }
        rm "$work/x.gguf"
    elif [ "$status" != 137 ]; then
        echo "exit $status: $(cat "$work/err")"
        exit 1
    fi
done
"$recast" convert "$source" -o "$work/x.gguf" -q "$@" >/dev/null || exit 1
[ "$(sha256sum <"$work/x.gguf")" = "$right" ] || { echo "WRONG BYTES at the end"; exit 1; }
[ "$(ls -A "$work" | tr '\n' ' ')" = "err x.gguf " ] || { echo "left behind: $(ls -A "$work")"; exit 1; }
echo "$killed kills, $resumed times something to go on from, $((ended + 1)) complete files, all right"
