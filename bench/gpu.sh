#!/bin/sh
# gpu.sh RECAST [JSON] -- on a machine with a GPU: the same bits as the processor, compute-sanitizer where it is installed, and speeds.
#
# Speeds: a checkpoint in the full shape of Qwen3-30B-A3B with as many layers as fit, made on the spot, and one with half as many; gpu_bench (gpu.c)
# measures both, and gpu_report.py makes 48 layers of the difference and prints the tables for docs/performance.md.
#
#   LAYERS=N          layers of the larger one (4)
#   TYPES="..."       weight types (bf16 q8_0 q4_k_m)
#   EXPERTS="..."     experts a token (8 12 16)
#   CONTEXTS="..."    tokens that are there when one is generated (0 32768 131072)
#   PROMPTS="..."     tokens of prompts, with 8 experts (1024 4096 32768)
#   TOKENS=N          generated at each context, the median counts (64)
#   PEAK=N            the memory's GB/s, where gpu_report.py does not know the card
#   LLAMA_BENCH=P     llama.cpp's program, built with CUDA: measured on the same files (LLAMA_FLAGS: -ngl 99)
#   DENSE=1           random weights everywhere, not mostly zeros: takes the checkpoint's size on disk, and the card gets as warm as with a real one
#   SHAPE="..."       another shape, for trying this script (sparse_checkpoint.py)
#   BITS=0 SPEED=0    leave that part out; BITS_PROMPT=N bytes of text (1500), BITS_TOKENS=N (24)
#   JSON: a file that gets all figures.
set -eu
case "$1" in /*) recast=$1 ;; *) recast=$PWD/$1 ;; esac
json=${2:-} here=$(cd "$(dirname "$0")" && pwd) top=$here/..
layers=${LAYERS:-4} contexts=${CONTEXTS:-"0 32768 131072"} prompts=${PROMPTS:-"1024 4096 32768"} tokens=${TOKENS:-64}
work=$(mktemp -d "${TMPDIR:-/tmp}/recast-gpu.XXXXXX")
report() { # also of what there is when the time is up
    [ ! -s "$work/raw" ] || python3 "$here/gpu_report.py" "$work/raw" ${json:+"$json"} || bad=1
}
trap 'report; rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export LC_ALL=C
bad=0

name=$("$recast" run "$top/tests/data/tiny-qwen3moe" -p x -n 1 --device cuda 2>&1 >/dev/null | sed -n 's/^device: //p')
if [ -z "$name" ]; then
    echo "gpu.sh: no CUDA device:"
    "$recast" run "$top/tests/data/tiny-qwen3moe" -p x -n 1 --device cuda || true
    exit 4
fi
echo "$name"

# ---- bits ----
hashes() { # DEVICE MODEL OPTIONS
    device=$1 model=$2
    shift 2
    "$recast" run "$model" -p "$(head -c "${BITS_PROMPT:-1500}" "$top/tests/golden/eval-text.txt")" -n "${BITS_TOKENS:-24}" --device "$device" --json -q --ignore-end --context 1024 "$@" |
        sed -n 's/.*"\(tokens\|logits\)_sha256": *"\([0-9a-f]*\)".*/\2/p'
}
compare() { # MODEL WHAT OPTIONS
    model=$1 what=$2
    shift 2
    for kv in f32 f16; do
        for chunk in 256 7; do
            want=$(hashes cpu "$model" --kv $kv "$@") got=$(hashes cuda "$model" --kv $kv --prefill-chunk $chunk "$@")
            if [ "$(echo "$want" | wc -w)" = 2 ] && [ "$want" = "$got" ]; then
                echo "same bits: $what, KV $kv, prompt in pieces of $chunk"
            else
                echo "OTHER BITS: $what, KV $kv, prompt in pieces of $chunk"
                bad=1
            fi
        done
    done
}
tiny=$top/tests/data/tiny-qwen3moe
bits() {
    compare "$tiny" "tiny, bf16"
    for type in f32 f16 q8_0 q5_1 q5_0 q4_1 q4_0 iq4_nl; do
        rm -f "$work/tiny.gguf"
        "$recast" convert "$tiny" -o "$work/tiny.gguf" --type $type -q >/dev/null
        compare "$work/tiny.gguf" "tiny, $type"
    done
    python3 "$here/sparse_checkpoint.py" "$work/shape" 1 dense
    for type in bf16 q8_0 q6_k q5_k_m q4_k_m q3_k_m q2_k iq4_xs; do # one layer of the real shape: rows of 2048 and 768
        rm -f "$work/shape.gguf"
        "$recast" convert "$work/shape" -o "$work/shape.gguf" --type $type -q >/dev/null
        compare "$work/shape.gguf" "one layer of 30B-A3B, $type"
        compare "$work/shape.gguf" "one layer of 30B-A3B, $type, float32 activations" --activations f32
    done
    rm -rf "$work/shape" "$work/shape.gguf"
}
[ "${BITS:-1}" = 0 ] || bits

# ---- races and stray addresses ----
if command -v compute-sanitizer >/dev/null 2>&1; then
    for tool in memcheck racecheck synccheck; do
        if compute-sanitizer --tool $tool --error-exitcode 9 --launch-timeout 0 "$recast" run "$tiny" -p "In the beginning" -n 4 --device cuda -q >"$work/log" 2>&1; then
            echo "compute-sanitizer $tool: clean"
        else
            tail -n 30 "$work/log"
            bad=1
        fi
    done
else
    echo "compute-sanitizer: not run: it is not installed"
fi

# ---- speeds ----
# What a token reads of a file, by its list of tensors, all but the embedding: BYTES_OF_WEIGHTS BYTES_OF_KV (float16, for each token there is)
bytes() { # FILE EXPERTS
    "$recast" inspect "$1" --json -q | python3 -c '
import json, sys
size = dict(F32=(4, 1), F16=(2, 1), BF16=(2, 1), Q4_0=(18, 32), Q4_1=(20, 32), Q5_0=(22, 32), Q5_1=(24, 32), Q8_0=(34, 32), IQ4_NL=(18, 32),
            Q2_K=(84, 256), Q3_K=(110, 256), Q4_K=(144, 256), Q5_K=(176, 256), Q6_K=(210, 256), IQ4_XS=(136, 256))
model, used, weights, kv = json.load(sys.stdin), int(sys.argv[1]), 0, 0
for t in model["tensors"]:
    n = 1
    for d in t["shape"]: n *= d
    b, per = size[t["type"].upper()]
    if t["name"] == "token_embd.weight": continue
    if "_exps" in t["name"]: n = n * used // model["parameters"]["experts"]
    weights += n * b // per
    if "attn_k.weight" in t["name"]: kv += 4 * t["shape"][0]
print(weights, kv)' "$2"
}
llama() { # TYPE EXPERTS LAYERS FILE
    for at in $contexts; do
        # shellcheck disable=SC2086
        "$LLAMA_BENCH" -m "$4" ${LLAMA_FLAGS:--ngl 99} -p 0 -n "$tokens" -d "$at" -r 3 -o jsonl 2>"$work/log" | jsonl "$1 $2 $3 llama.cpp decode $at" 1
    done
    [ "$2" = 8 ] || return 0
    for at in $prompts; do
        # shellcheck disable=SC2086
        "$LLAMA_BENCH" -m "$4" ${LLAMA_FLAGS:--ngl 99} -p "$at" -n 0 -r 3 -o jsonl 2>"$work/log" | jsonl "$1 $2 $3 llama.cpp prefill $at" "$at"
    done
}
jsonl() { # WHAT TOKENS
    sed -n 's/.*"avg_ts": *\([0-9.]*\).*/\1/p' | awk -v what="$1" -v n="$2" '$1 > 0 { printf "%s %.9f\n", what, n / $1 }' >>"$work/raw"
}
measure() { # TYPE EXPERTS LAYERS FILE
    what="$1 $2 $3 recast" marks=$prompts
    [ "$2" = 8 ] || marks=
    # shellcheck disable=SC2046
    set -- "$@" $(bytes "$4" "$2")
    printf '%s bytes 0 %s\n%s kv 0 %s\n' "$what" "$5" "$what" "$6" >>"$work/raw"
    if ! "$(dirname "$recast")/gpu_bench" "$4" "$contexts" "$marks" "$tokens" >"$work/out"; then
        echo "gpu.sh: $1, $2 experts, $3 layers: not measured"
        bad=1
    fi
    sed "s/^/$what /" "$work/out" | tee -a "$work/raw"
    [ -z "${LLAMA_BENCH:-}" ] || llama "$@"
}
speed() {
    echo "device $name" >"$work/raw"
    for n in "$layers" $((layers / 2)); do
        # shellcheck disable=SC2046
        python3 "$here/sparse_checkpoint.py" "$work/$n" "$n" $([ -z "${DENSE:-}" ] || echo dense)
    done
    for type in ${TYPES:-bf16 q8_0 q4_k_m}; do
        for n in "$layers" $((layers / 2)); do
            rm -f "$work/base.gguf"
            "$recast" convert "$work/$n" -o "$work/base.gguf" --type "$type" --no-hash -q >/dev/null
            for experts in ${EXPERTS:-8 12 16}; do
                rm -f "$work/model.gguf"
                "$recast" edit "$work/base.gguf" -o "$work/model.gguf" --set "qwen3moe.expert_used_count=$experts" --no-hash -q >/dev/null
                measure "$type" "$experts" "$n" "$work/model.gguf"
            done
        done
    done
}
[ "${SPEED:-1}" = 0 ] || speed
exit $bad
