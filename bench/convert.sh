#!/bin/sh
# convert.sh RECAST -- how fast a checkpoint becomes a GGUF, beside what the machine can do at all, in one run.
#
#   CHECKPOINT=DIR   the checkpoint to convert (default: the bundled tiny one, too small to mean anything)
#   LLAMA_CPP=DIR    llama.cpp's source; with PYTHON=PROGRAM (default python3) its converter is measured too
#   WORK=DIR         where to write (default: $TMPDIR or /tmp); needs twice the checkpoint's size
#   RUNS=N           runs of each, the best counts (default 3)
#
# Each writes a new file and waits until it is on disk. Sources are read once before, so they come from memory if it is large
# enough. Absolute figures change from machine to machine and from hour to hour; the ratios are what to compare.
set -u
recast=${1:?usage: convert.sh RECAST}
case "$recast" in /*) ;; *) recast=$PWD/$recast ;; esac
top=$(cd "$(dirname "$0")/.." && pwd)
checkpoint=${CHECKPOINT:-$top/tests/data/tiny-qwen3moe}
python=${PYTHON:-python3}
runs=${RUNS:-3}
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export LC_ALL=C

bytes=0
for f in "$checkpoint"/*.safetensors; do
    [ -f "$f" ] || { echo "convert.sh: no weights in $checkpoint" >&2; exit 1; }
    bytes=$((bytes + $(stat -Lc %s "$f")))
done
[ "$bytes" -gt 0 ] || exit 1

echo "checkpoint: $checkpoint, $((bytes / 1000000)) MB of weights; $(nproc) processors; best of $runs"
[ "$bytes" -ge 1000000000 ] || echo "NOTE: under 1 GB, start-up counts for more than throughput; set CHECKPOINT=DIR for figures that mean something"

# ---- what is measured; each leaves its files in $work/out ----

do_read() { cat "$checkpoint"/*.safetensors >/dev/null; }
do_dd() { cat "$checkpoint"/*.safetensors | dd of="$work/out/x" bs=4M iflag=fullblock conv=fsync status=none; }
do_cp() { cp --reflink=never -L "$checkpoint"/*.safetensors "$work/out" && sync "$work"/out/*; }
do_sha256() { openssl dgst -sha256 "$checkpoint"/*.safetensors >/dev/null; }
do_hash() { $memory "$recast" convert "$checkpoint" --type bf16 --hash -q >/dev/null; }
do_no_hash() { $memory "$recast" convert "$checkpoint" -o "$work/out/x.gguf" --type bf16 --no-hash -q >/dev/null; }
do_recast() { $memory "$recast" convert "$checkpoint" -o "$work/out/x.gguf" --type bf16 -q >/dev/null; }
do_llama() {
    $memory "$python" "$LLAMA_CPP/convert_hf_to_gguf.py" "$checkpoint" --outfile "$work/out/x.gguf" --outtype bf16 \
        >"$work/log" 2>&1 && sync "$work/out/x.gguf"
}

memory=
[ -x /usr/bin/time ] && memory="/usr/bin/time -o $work/memory -f %M"

# Sets best (milliseconds, at least 1), or 0 if it failed.
measure() {
    best=0 i=0
    while [ "$i" -lt "$runs" ]; do
        rm -rf "$work/out" "$work/memory"
        mkdir "$work/out"
        start=$(date +%s%N)
        "$1" || { best=0; return; }
        ms=$((($(date +%s%N) - start) / 1000000))
        [ "$ms" -gt 0 ] || ms=1
        if [ "$best" = 0 ] || [ "$ms" -lt "$best" ]; then best=$ms; fi
        i=$((i + 1))
    done
    rm -rf "$work/out"
}

# NAME MILLISECONDS: seconds, rate, the time as a multiple of recast's, memory.
line() {
    if [ "$2" = 0 ]; then
        printf '%-38s  failed\n' "$1"
        return
    fi
    printf '%-38s %4d.%02d s %6d MB/s  %3d.%02d x recast' "$1" $(($2 / 1000)) $(($2 % 1000 / 10)) $((bytes / $2 / 1000)) \
        $(($2 / ours)) $((100 * $2 / ours % 100))
    [ -z "$3" ] || printf '  %d MB of memory' $(($3 / 1000))
    printf '\n'
}

peak() {
    used=
    [ ! -f "$work/memory" ] || used=$(tail -n 1 "$work/memory")
}

do_read || exit 1
measure do_recast && peak
ours=$best our_memory=$used
[ "$ours" != 0 ] || { echo "convert.sh: $recast failed" >&2; exit 1; }
line "recast convert, all hashes" "$ours" "$our_memory"
measure do_no_hash && peak
line "recast convert --no-hash" "$best" "$used"
measure do_hash && peak
line "recast convert --hash (writes nothing)" "$best" "$used"
measure do_read
line "reading: cat to /dev/null" "$best" ""
measure do_sha256
line "hashing: openssl sha256" "$best" ""
measure do_cp
line "copying: cp, sync" "$best" ""
measure do_dd
line "copying: dd of 4 MiB, fsync" "$best" ""
if [ -n "${LLAMA_CPP:-}" ]; then
    measure do_llama && peak
    line "llama.cpp's converter, sync" "$best" "$used"
    [ "$best" != 0 ] || tail -n 2 "$work/log"
fi
