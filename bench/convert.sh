#!/bin/sh
# convert.sh RECAST -- how fast a checkpoint becomes a GGUF, and a GGUF another, beside what the machine can do at all, in one run.
#
#   CHECKPOINT=DIR   the checkpoint to convert (default: the bundled tiny one, too small to mean anything)
#   LLAMA_CPP=DIR    llama.cpp's source; with PYTHON=PROGRAM (default python3) its converter is measured too
#   WORK=DIR         where to write (default: $TMPDIR or /tmp); needs twice the checkpoint's size
#   RUNS=N           runs of each, the best counts (default 3)
#   COLD=0           leave out the runs from a cold cache (they drop the page cache, which needs root)
#
# Recast's files are on disk when it ends (fsync). Peers are timed without and with waiting for that ("durable"). Absolute figures
# change from machine to machine and from hour to hour; the ratios at the end are what to compare.
set -u
recast=${1:?usage: convert.sh RECAST}
case "$recast" in /*) ;; *) recast=$PWD/$recast ;; esac
top=$(cd "$(dirname "$0")/.." && pwd)
checkpoint=$(cd "${CHECKPOINT:-$top/tests/data/tiny-qwen3moe}" && pwd)
python=${PYTHON:-python3}
runs=${RUNS:-3}
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export LC_ALL=C
out=$work/out

bytes=0
for f in "$checkpoint"/*.safetensors; do
    [ -f "$f" ] || { echo "convert.sh: no weights in $checkpoint" >&2; exit 1; }
    bytes=$((bytes + $(stat -Lc %s "$f")))
done
[ "$bytes" -gt 0 ] || exit 1
cat >"$work/pinned.json" <<END
{ "recipe": 1, "name": "x", "base": { "path": "$checkpoint" }, "overrides": {}, "outputs": [ { "format": "gguf", "type": "bf16" } ] }
END
"$recast" pin "$work/pinned.json" -q >/dev/null || exit 1

echo "checkpoint: $checkpoint, $((bytes / 1000000)) MB of weights; $(nproc) processors; best of $runs"
[ "$bytes" -ge 1000000000 ] || echo "NOTE: under 1 GB, start-up counts for more than throughput; set CHECKPOINT=DIR for figures that mean something"

# ---- what is measured; each leaves its files in $out ----

read_all() { cat "$checkpoint"/*.safetensors >/dev/null; }
hash_all() { openssl dgst -sha256 "$checkpoint"/*.safetensors >/dev/null; }
copy() { cp --reflink=never -L "$checkpoint"/*.safetensors "$out"; }
copy_durable() { copy && sync -d "$out"/*; }
dd_direct() { # one file after the other, as a disk likes it best
    for f in "$checkpoint"/*.safetensors; do
        dd if="$f" of="$out/$(basename "$f")" bs=4M iflag=direct oflag=direct status=none || return 1
    done
}
convert() { $memory "$recast" convert "$@" --replace -q >/dev/null; }
pinned() { convert "$work/pinned.json" -o "$out/x.gguf"; }
unpinned() { convert "$checkpoint" -o "$out/x.gguf" --type bf16; }
no_hash() { convert "$checkpoint" -o "$out/x.gguf" --type bf16 --no-hash; }
hash_only() { convert "$work/pinned.json" --hash; }
q8_0() { convert "$checkpoint" -o "$out/x.gguf" --type q8_0; }
both() { convert "$checkpoint" -o "$out/x-{type}.gguf" --type bf16,q8_0; }
llama() {
    $memory "$python" "$LLAMA_CPP/convert_hf_to_gguf.py" "$checkpoint" --outfile "$out/x.gguf" --outtype "$1" >"$work/log" 2>&1
}
llama_bf16() { llama bf16; }
llama_q8_0() { llama q8_0; }
copy_gguf() { cp --reflink=never "$work/base.gguf" "$out/x.gguf"; }
copy_gguf_durable() { copy_gguf && sync -d "$out/x.gguf"; }
hash_gguf() { openssl dgst -sha256 "$work/base.gguf" >/dev/null; }
edit() { $memory "$recast" edit "$work/base.gguf" --set qwen3moe.expert_used_count=16 -q "$@" >/dev/null; }
edit_new() { edit -o "$out/x.gguf"; }
edit_no_hash() { edit -o "$out/x.gguf" --no-hash; }
edit_in_place() { edit --in-place && "$recast" edit "$work/base.gguf" --set qwen3moe.expert_used_count=8 --in-place -q >/dev/null; }

memory=
[ -x /usr/bin/time ] && memory="/usr/bin/time -o $work/memory -f %M"

# measure LABEL FUNCTION [BYTES]: the best of all runs; sets ms (at least 1; 0 if it failed) and prints a line.
measure() {
    ms=0 i=0
    while [ "$i" -lt "$runs" ]; do
        rm -rf "$out" "$work/memory"
        mkdir "$out"
        [ -z "$cold" ] || { sync; echo 3 >/proc/sys/vm/drop_caches; }
        start=$(date +%s%N)
        "$2" || { ms=0; break; }
        took=$((($(date +%s%N) - start) / 1000000))
        [ "$took" -gt 0 ] || took=1
        if [ "$ms" = 0 ] || [ "$took" -lt "$ms" ]; then ms=$took; fi
        i=$((i + 1))
    done
    rm -rf "$out"
    if [ "$ms" = 0 ]; then
        printf '  %-44s failed\n' "$1"
        return
    fi
    printf '  %-44s %4d.%03d s %6d MB/s' "$1" $((ms / 1000)) $((ms % 1000)) $((bytes / ms / 1000))
    [ ! -f "$work/memory" ] || printf '  %4d MB of memory' $(($(tail -n 1 "$work/memory") / 1000))
    printf '\n'
}

ratios=$work/ratios
: >"$ratios"
# ratio LABEL A B: A / B with two digits.
ratio() {
    if [ "$2" = 0 ] || [ "$3" = 0 ]; then return; fi
    printf '  %-72s %2d.%02d\n' "$1" $(($2 / $3)) $((100 * $2 / $3 % 100)) >>"$ratios"
}

cold=
read_all || exit 1
echo "the machine, from a warm cache"
measure "reading: cat to /dev/null" read_all
measure "hashing: openssl dgst -sha256" hash_all && sha=$ms
measure "copying: cp" copy && cp=$ms
measure "copying: cp, sync -d" copy_durable && cp_durable=$ms
echo "checkpoint to GGUF"
measure "recast, pinned, all hashes" pinned && pinned=$ms
measure "recast, not pinned, all hashes" unpinned && unpinned=$ms
measure "recast --no-hash" no_hash && no_hash=$ms
measure "recast --hash, pinned (writes nothing)" hash_only
measure "recast --type q8_0" q8_0 && q8_0=$ms
measure "recast --type bf16,q8_0" both && both=$ms
ratio "pinned, durable / (cp + sha256), not durable; to be 1 at most" "$pinned" $((cp + sha))
ratio "pinned / (cp + sha256), both durable; to be 1 at most" "$pinned" $((cp_durable + sha))
ratio "not pinned / (cp + sha256), both durable" "$unpinned" $((cp_durable + sha))
ratio "--no-hash, durable / cp, not durable; to be 1.15 at most" "$no_hash" "$cp"
ratio "q8_0 / bf16; to be 1 at most" "$q8_0" "$unpinned"
ratio "bf16 and q8_0 together / bf16 alone; to be below 1.5" "$both" "$unpinned"
if [ -n "${LLAMA_CPP:-}" ]; then
    measure "llama.cpp's converter, bf16" llama_bf16 && llama_bf16=$ms
    ratio "llama.cpp's converter / recast pinned, bf16; to be 3.5 at least" "$llama_bf16" "$pinned"
    ratio "llama.cpp's converter / recast not pinned, bf16; to be 3.5 at least" "$llama_bf16" "$unpinned"
    measure "llama.cpp's converter, q8_0" llama_q8_0 && llama_q8_0=$ms
    ratio "llama.cpp's converter / recast, q8_0" "$llama_q8_0" "$q8_0"
    [ "$ms" != 0 ] || tail -n 2 "$work/log"
fi
echo "GGUF to GGUF, one key changed"
"$recast" convert "$checkpoint" -o "$work/base.gguf" --type bf16 --no-hash -q >/dev/null || exit 1
measure "copying: cp" copy_gguf && cp=$ms
measure "copying: cp, sync -d" copy_gguf_durable && cp_durable=$ms
measure "hashing: openssl dgst -sha256" hash_gguf && sha=$ms
measure "recast edit, a new file" edit_new && edit=$ms
measure "recast edit --no-hash, a new file" edit_no_hash && edit_no_hash=$ms
measure "recast edit --in-place, there and back" edit_in_place && in_place=$ms
ratio "edit, durable / (cp + sha256), not durable; to be 1 at most" "$edit" $((cp + sha))
ratio "edit --no-hash, durable / cp, not durable; to be 1 at most" "$edit_no_hash" "$cp"
ratio "edit --no-hash / cp, both durable; to be 1 at most" "$edit_no_hash" "$cp_durable"
ratio "edit --in-place, twice / 40 ms; to be 1 at most" "$in_place" 40
rm -f "$work/base.gguf"
if [ "${COLD:-1}" != 0 ] && [ -w /proc/sys/vm/drop_caches ]; then
    cold=1
    echo "from a cold cache"
    measure "dd, 4 MiB, direct I/O on both sides" dd_direct && dd=$ms
    measure "recast, pinned, all hashes" pinned && pinned=$ms
    measure "recast --no-hash" no_hash && no_hash=$ms
    ratio "cold: dd with direct I/O / recast pinned; to be 0.9 at least" "$dd" "$pinned"
    ratio "cold: dd with direct I/O / recast --no-hash; to be 0.9 at least" "$dd" "$no_hash"
fi
echo "ratios"
cat "$ratios"
