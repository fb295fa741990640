#!/bin/sh
# run.sh RECAST -- how fast the runner reads prompts and generates, beside llama.cpp's llama-bench, in one run.
#
#   CHECKPOINT=DIR  the checkpoint (default: the bundled tiny one, too small to mean anything)
#   LLAMA_BENCH=P   llama.cpp's program, built for this machine; without it only Recast is measured
#   TYPES="..."     weight types (default: bf16 q8_0 q4_0 q4_k_m q6_k)
#   EXPERTS="8 16"  experts a token (default: the checkpoint's own)
#   PROMPT=N GENERATE=N  tokens, the first about (default 512 and 48)
#   THREADS=N       of both (default: one a processor)
#   RUNS=N          runs of each, one after the other by turns, the best counts (default 3)
#   WORK=DIR        where to write (default: $TMPDIR or /tmp); needs the checkpoint's size
#   RUN_WITH="..."  put before each command that is measured, say "chrt -f 50" on a machine that isn't idle
#
# Recast's prompt time includes mapping the weights, llama-bench warms up first. GB/s: bytes of weights that a token needs times tokens a
# second, to be compared with what the threads can read; GFLOP/s of the prompt with what they can multiply and add.
set -u
recast=${1:?usage: run.sh RECAST}
case "$recast" in /*) ;; *) recast=$PWD/$recast ;; esac
top=$(cd "$(dirname "$0")/.." && pwd)
checkpoint=$(cd "${CHECKPOINT:-$top/tests/data/tiny-qwen3moe}" && pwd)
threads=${THREADS:-$(nproc)} runs=${RUNS:-3} prompt=${PROMPT:-512} generate=${GENERATE:-48}
with=${RUN_WITH:-}
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export LC_ALL=C

${CC:-cc} -O2 -std=gnu17 -pthread "$top/bench/machine.c" -o "$work/machine" || exit 1
own=$(sed -n 's/.*"num_experts_per_tok": *\([0-9]*\).*/\1/p' "$checkpoint/config.json")
number() { sed -n "s/.*\"$1\": *\([0-9.e-]*\).*/\1/p" | head -1; }
# Some text, so that tokens choose different experts; about 4 bytes of it are a token. llama-bench gets as many random ones.
text=$(cat "$top/docs/eval.md" "$top/docs/arithmetic.md" | head -c $((4 * prompt)))
prompt=$("$recast" tokenize "$checkpoint" -p "$text" 2>/dev/null | tr ',' '\n' | wc -l)

echo "$(nproc) processors, $threads threads, prompt $prompt, generate $generate, best of $runs${with:+, run with $with}"
[ -z "${LLAMA_BENCH:-}" ] || echo "llama-bench: $LLAMA_BENCH, sha256 $(sha256sum <"$LLAMA_BENCH" | cut -c1-16)"
printf '%-8s %7s | %9s %7s %7s | %8s %7s %7s\n' type experts 'prompt/s' llama ratio 'token/s' llama ratio
for type in ${TYPES:-bf16 q8_0 q4_0 q4_k_m q6_k}; do
    "$recast" convert "$checkpoint" -o "$work/$type.gguf" --type "$type" --no-hash -q >/dev/null || exit 1
    for experts in ${EXPERTS:-$own}; do
        file=$work/$type.gguf
        if [ "$experts" != "$own" ]; then
            "$recast" edit "$file" -o "$work/more.gguf" --replace --set "qwen3moe.expert_used_count=$experts" --no-hash -q >/dev/null || exit 1
            file=$work/more.gguf
        fi
        cat "$file" >/dev/null
        : >"$work/ours" && : >"$work/theirs" && i=0
        while [ "$i" -lt "$runs" ]; do
            $with "$recast" run "$file" -p "$text" -n "$generate" --threads "$threads" --json 2>/dev/null >"$work/json" || exit 1
            count=$(awk '/"prompt_ids"/ { on = 1 } on { n += gsub(/[0-9]+/, "&") } on && /\]/ { print n; exit }' "$work/json")
            echo "$count $generate $(number prefill_seconds <"$work/json") $(number decode_seconds <"$work/json")" >>"$work/ours"
            [ -z "${LLAMA_BENCH:-}" ] || $with "$LLAMA_BENCH" -m "$file" -t "$threads" -p "$prompt" -n "$generate" -r 1 -o csv 2>/dev/null |
                awk -F'","' 'NR > 1 { print $(NF - 1) }' | tr '\n' ' ' >>"$work/theirs"
            echo >>"$work/theirs"
            i=$((i + 1))
        done
        awk -v type="$type" -v experts="$experts" -v theirs="$work/theirs" '
            { if ($1 / $3 > p) p = $1 / $3; if ($2 / $4 > g) g = $2 / $4 }
            END {
                while ((getline line <theirs) > 0) { split(line, v, " "); if (v[1] > tp) tp = v[1]; if (v[2] > tg) tg = v[2] }
                printf "%-8s %7d | %9.0f %7.0f %6.2fx | %8.1f %7.1f %6.2fx\n", type, experts, p, tp, tp ? p / tp : 0, g, tg, tg ? g / tg : 0
            }' "$work/ours"
        rm -f "$work/more.gguf"
    done
    [ "$type" = bf16 ] || rm -f "$work/$type.gguf"
done
set -- $($with "$work/machine" "$threads" 2048 "$work/bf16.gguf")
echo "this machine, $threads threads: reads ${1:-?} GB/s of memory, ${2:-?} of a mapped file; ${3:-?} GFLOP/s float32"
