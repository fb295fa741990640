#!/bin/sh
# quantize.sh RECAST -- how fast floats become blocks, beside llama.cpp's llama-quantize, in one run.
#
#   CHECKPOINT=DIR   the checkpoint (default: the bundled tiny one, too small to mean anything)
#   LLAMA_QUANTIZE=P llama.cpp's program, built for this machine; without it only Recast is measured
#   LLAMA_CPP=DIR    llama.cpp's source: its converter is measured too (with PYTHON=PROGRAM, default python3)
#   TYPES="..."      presets (default: those of the table in docs/performance.md)
#   THREADS=N        of both (default: one a processor)
#   WORK=DIR         where to write (default: $TMPDIR or /tmp); needs twice the checkpoint's size
#   RUNS=N           runs of each, the best counts (default 2)
#
# Both read the same bf16 GGUF from a warm cache. Recast writes without hashing (--no-hash), as llama-quantize does; the last lines are
# the whole way from checkpoint to Q4_K_M, with all of Recast's hashes.
set -u
recast=${1:?usage: quantize.sh RECAST}
case "$recast" in /*) ;; *) recast=$PWD/$recast ;; esac
top=$(cd "$(dirname "$0")/.." && pwd)
checkpoint=$(cd "${CHECKPOINT:-$top/tests/data/tiny-qwen3moe}" && pwd)
threads=${THREADS:-$(nproc)}
runs=${RUNS:-2}
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export LC_ALL=C

"$recast" convert "$checkpoint" -o "$work/base.gguf" --type bf16 --no-hash -q >/dev/null || exit 1
bytes=$(stat -Lc %s "$work/base.gguf")
echo "bf16 GGUF of $((bytes / 1000000)) MB; $(nproc) processors, $threads threads; best of $runs; GB/s of input"
[ -z "${LLAMA_QUANTIZE:-}" ] || echo "llama-quantize: $LLAMA_QUANTIZE, sha256 $(sha256sum <"$LLAMA_QUANTIZE" | cut -c1-16)${LLAMA_VERSION:+, $LLAMA_VERSION}"

# best FUNCTION ...: sets ms, at least 1; 0 if it failed.
best() {
    ms=0 i=0
    while [ "$i" -lt "$runs" ]; do
        rm -f "$work"/out*
        start=$(date +%s%N)
        "$@" || { ms=0; break; }
        took=$((($(date +%s%N) - start) / 1000000))
        [ "$took" -gt 0 ] || took=1
        if [ "$ms" = 0 ] || [ "$took" -lt "$ms" ]; then ms=$took; fi
        i=$((i + 1))
    done
    rm -f "$work"/out*
}

# seconds and rate of $1 ms
show() {
    if [ "$1" = 0 ]; then printf '      failed       '; else printf '%4d.%02d s %2d.%02d GB/s' $(($1 / 1000)) $(($1 % 1000 / 10)) \
        $((bytes / $1 / 1000000)) $((bytes / $1 / 10000 % 100)); fi
}
factor() { # A B: A / B
    if [ "$1" = 0 ] || [ "$2" = 0 ]; then printf '      '; else printf '%3d.%01d x' $(($1 / $2)) $((10 * $1 / $2 % 10)); fi
}

ours() { "$recast" convert "$work/base.gguf" -o "$work/out.gguf" --replace --type "$1" --no-hash --threads "$threads" -q >/dev/null; }
theirs() { "$LLAMA_QUANTIZE" "$work/base.gguf" "$work/out.gguf" "$1" "$threads" >/dev/null 2>&1; }
copy() { cp --reflink=never "$work/base.gguf" "$work/out.gguf"; }

cat "$work/base.gguf" >/dev/null
best copy
copied=$ms
printf '%-8s %s\n' cp "$(show "$copied")"
printf '%-8s %-19s  %-19s  %s\n' type recast llama-quantize "llama / recast   recast / cp"
for type in ${TYPES:-Q4_0 Q8_0 Q2_K Q3_K_M Q4_K_M Q5_K_M Q6_K IQ4_NL IQ4_XS}; do
    best ours "$type"
    mine=$ms other=0
    printf '%-8s %s' "$type" "$(show "$mine")"
    if [ -n "${LLAMA_QUANTIZE:-}" ]; then
        best theirs "$type"
        other=$ms
        printf '  %s  %s' "$(show "$other")" "$(factor "$other" "$mine")"
    fi
    printf '  %s\n' "$(factor "$mine" "$copied")"
done

whole() { "$recast" convert "$checkpoint" -o "$work/out.gguf" --replace --type q4_k_m --threads "$threads" -q >/dev/null; }
two_steps() {
    "${PYTHON:-python3}" "$LLAMA_CPP/convert_hf_to_gguf.py" "$checkpoint" --outfile "$work/out-f.gguf" --outtype bf16 >/dev/null 2>&1 &&
        "$LLAMA_QUANTIZE" "$work/out-f.gguf" "$work/out.gguf" Q4_K_M "$threads" >/dev/null 2>&1
}
best whole
mine=$ms
printf 'checkpoint to Q4_K_M, all hashes      %s\n' "$(show "$mine")"
if [ -n "${LLAMA_CPP:-}" ] && [ -n "${LLAMA_QUANTIZE:-}" ]; then
    best two_steps
    printf 'converter, then llama-quantize        %s  %s\n' "$(show "$ms")" "$(factor "$ms" "$mine")"
fi
