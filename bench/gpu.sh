#!/bin/sh
# gpu.sh RECAST [JSON] -- on a machine with a GPU: the same bits as the processor, compute-sanitizer where it is installed, and speeds.
#
# Speeds: a checkpoint in the full shape of Qwen3-30B-A3B with as many layers as fit (LAYERS, 4), made on the spot (weights are mostly zeros:
# sparse_checkpoint.py), in bf16, Q8_0 and Q4_K_M, with 8, 12 and 16 experts, at contexts of CONTEXTS tokens. The cost of a layer is the
# difference to half as many layers, so that embedding, head and everything else cancel out; 48 layers and a head are made of it. Beside it
# stand the bytes that a token must read, the rate that this is, and, with PEAK in GB/s, its share of the card's peak.
# JSON: a file that gets all figures, one object a line.
set -eu
recast=$1 json=${2:-/dev/null} here=$(cd "$(dirname "$0")" && pwd) top=$here/..
layers=${LAYERS:-4} contexts=${CONTEXTS:-"0 32768 131072"} prompts=${PROMPTS:-"1024 4096 32768"} peak=${PEAK:-0} tokens=${TOKENS:-64}
work=$(mktemp -d "${TMPDIR:-/tmp}/recast-gpu.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
[ "$json" = /dev/null ] || : >"$json"
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
    "$recast" run "$model" -p "$(head -c 1500 "$top/tests/golden/eval-text.txt")" -n 24 --device "$device" --json -q --ignore-end --context 1024 "$@" |
        sed -n 's/.*"\(tokens\|logits\)_sha256": *"\([0-9a-f]*\)".*/\2/p'
}
compare() { # MODEL WHAT OPTIONS
    model=$1 what=$2
    shift 2
    for kv in f32 f16; do
        for chunk in 256 7; do
            if [ "$(hashes cpu "$model" --kv $kv "$@")" = "$(hashes cuda "$model" --kv $kv --prefill-chunk $chunk "$@")" ]; then
                echo "same bits: $what, KV $kv, prompt in pieces of $chunk"
            else
                echo "OTHER BITS: $what, KV $kv, prompt in pieces of $chunk"
                bad=1
            fi
        done
    done
}
tiny=$top/tests/data/tiny-qwen3moe
compare "$tiny" "tiny, bf16"
for type in f32 f16 q8_0 q5_1 q5_0 q4_1 q4_0 iq4_nl; do
    "$recast" convert "$tiny" -o "$work/tiny.gguf" --force --type $type -q >/dev/null
    compare "$work/tiny.gguf" "tiny, $type"
done
python3 "$here/sparse_checkpoint.py" "$work/shape" 1
for type in bf16 q8_0 q6_k q5_k_m q4_k_m q3_k_m q2_k iq4_xs; do # one layer of the real shape: rows of 2048 and 768
    "$recast" convert "$work/shape" -o "$work/shape.gguf" --force --type $type -q >/dev/null
    compare "$work/shape.gguf" "one layer of 30B-A3B, $type"
done

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
seconds() { # FILE KEY of run --json
    sed -n "s/.*\"$2\": *\([0-9.e+-]*\).*/\1/p" "$1" | head -n 1
}
text() { # about N tokens: one word each
    awk -v n="$1" 'BEGIN { for (i = 0; i < n; i++) printf " the" }'
}
measure() { # MODEL EXPERTS CONTEXT N -> "prefill_seconds decode_seconds prompt_tokens"
    text "$3" >"$work/prompt"
    "$recast" run "$1" -p "In$(cat "$work/prompt")" -n "$4" --device cuda --json -q --ignore-end --kv f16 --prefill-chunk 512 >"$work/out.json"
    echo "$(seconds "$work/out.json" prefill_seconds) $(seconds "$work/out.json" decode_seconds) $(tr ',' '\n' <"$work/out.json" | sed -n '/prompt_ids/,/\]/p' | wc -l)"
}
# Bytes of a layer and of the head for one token, without KV: the shape of 30B-A3B
bytes() { # BITS_PER_WEIGHT EXPERTS
    awk -v b="$1" -v e="$2" 'BEGIN { printf "%.0f %.0f", (2048 * (4096 * 2 + 1024) + e * 3 * 2048 * 768) * b / 8 + 2048 * 128 * 4, 151936 * 2048 * b / 8 }'
}
half=$((layers / 2))
python3 "$here/sparse_checkpoint.py" "$work/full" "$layers"
python3 "$here/sparse_checkpoint.py" "$work/half" "$half"
for type in bf16 q8_0 q4_k_m; do
    case $type in bf16) bits=16 ;; q8_0) bits=8.5 ;; *) bits=4.9 ;; esac
    for experts in 8 12 16; do
        for size in full half; do
            sed "s/\"num_experts_per_tok\": *[0-9]*/\"num_experts_per_tok\": $experts/" "$work/$size/config.json" >"$work/config" && cp "$work/config" "$work/$size/config.json"
            "$recast" convert "$work/$size" -o "$work/$size.gguf" --force --type $type -q >/dev/null
        done
        for context in $contexts; do
            set -- $(measure "$work/full.gguf" $experts "$context" "$tokens") $(measure "$work/half.gguf" $experts "$context" "$tokens")
            # shellcheck disable=SC2046
            awk -v d1="$2" -v d2="$5" -v n="$tokens" -v l="$layers" -v h="$half" -v c="$context" -v t=$type -v e=$experts -v peak="$peak" \
                -v sizes="$(bytes $bits $experts)" -v json="$json" -v name="$name" 'BEGIN {
                    split(sizes, size, " ")
                    layer = (d1 - d2) / n / (l - h); rest = d2 / n - h * layer
                    token = 48 * layer + rest; read = 48 * (size[1] + 2048 * c) + size[2]
                    printf "%-7s %2d experts, context %6d: %7.3f ms a layer, %7.3f ms the rest; 48 layers: %7.1f tok/s, %6.0f GB/s", t, e, c, layer * 1e3, rest * 1e3, 1 / token, read / token / 1e9
                    if (peak > 0) printf ", %4.1f %% of peak; %.3f ms of bytes, %.3f ms of latency", read / token / peak / 1e7, read / peak / 1e6, token * 1e3 - read / peak / 1e6
                    print ""
                    printf "{\"device\":\"%s\",\"what\":\"decode\",\"type\":\"%s\",\"experts\":%d,\"context\":%d,\"layer_ms\":%.6f,\"rest_ms\":%.6f,\"tokens_per_second\":%.3f,\"bytes\":%.0f}\n", name, t, e, c, layer * 1e3, rest * 1e3, 1 / token, read >> json
                }'
        done
        [ $experts = 8 ] || continue
        for prompt in $prompts; do
            set -- $(measure "$work/full.gguf" $experts "$prompt" 1) $(measure "$work/half.gguf" $experts "$prompt" 1)
            awk -v p1="$1" -v p2="$4" -v n="$prompt" -v l="$layers" -v h="$half" -v t=$type -v json="$json" -v name="$name" 'BEGIN {
                layer = (p1 - p2) / (l - h); all = 48 * layer + p2 - h * layer
                printf "%-7s prompt of %6d: %9.3f ms a layer; 48 layers: %8.1f tok/s\n", t, n, layer * 1e3, n / all
                printf "{\"device\":\"%s\",\"what\":\"prefill\",\"type\":\"%s\",\"tokens\":%d,\"layer_ms\":%.6f,\"tokens_per_second\":%.3f}\n", name, t, n, layer * 1e3, n / all >> json
            }'
        done
    done
done
exit $bad
