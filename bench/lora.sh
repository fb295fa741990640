#!/bin/sh
# lora.sh RECAST -- how fast an adapter is merged, and in how much memory, beside conversion without one and beside PEFT.
#
#   CHECKPOINT=DIR   a Qwen3-MoE checkpoint of some GB (default: the bundled tiny one, too small to mean anything)
#   PYTHON=PROGRAM   with numpy, for the adapter (rank 32 on attention and all experts; default python3)
#   PEFT=PROGRAM     a Python with torch, transformers and peft: load, merge_and_unload and save_pretrained are measured too
#   WORK=DIR         where to write (default: $TMPDIR or /tmp); needs twice the checkpoint's size
#   RUNS=N           runs of each, the best counts (default 3)
#
# Memory is the largest private memory of the process (page cache and mapped files left out). Ratios are what to compare.
set -u
recast=${1:?usage: lora.sh RECAST}
case "$recast" in /*) ;; *) recast=$PWD/$recast ;; esac
top=$(cd "$(dirname "$0")/.." && pwd)
checkpoint=$(cd "${CHECKPOINT:-$top/tests/data/tiny-qwen3moe}" && pwd)
python=${PYTHON:-python3}
runs=${RUNS:-3}
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-bench.XXXXXX") || exit 1
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export LC_ALL=C

bytes=0
for f in "$checkpoint"/*.safetensors; do bytes=$((bytes + $(stat -Lc %s "$f"))); done
"$python" "$top/bench/make_adapter.py" "$checkpoint" "$work/adapter" || exit 1
recipe() { # NAME LORA FORMAT
    cat >"$work/$1.json" <<END
{ "recipe": 1, "name": "x", "base": { "path": "$checkpoint" }, $2 "outputs": [ $3 ] }
END
    "$recast" pin "$work/$1.json" -q >/dev/null || exit 1
}
lora="\"lora\": [ { \"path\": \"$work/adapter\" } ],"
gguf='{ "format": "gguf", "type": "bf16" }'
recipe plain "" "$gguf"
recipe merged "$lora" "$gguf"
recipe hf "$lora" '{ "format": "hf" }'
cat >"$work/merge_all.py" <<'END'
import sys
import torch
from peft import PeftModel
from transformers import AutoModelForCausalLM
base = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.bfloat16)
PeftModel.from_pretrained(base, sys.argv[2]).merge_and_unload().save_pretrained(sys.argv[3])
END
echo "checkpoint: $checkpoint, $((bytes / 1000000)) MB of weights; adapter $(($(stat -c %s "$work/adapter/adapter_model.safetensors") / 1000000)) MB; $(nproc) processors; best of $runs"

# Largest anonymous memory of a process, in kB, looked at every 20 ms.
watch() { # PID FILE
    largest=0
    while kill -0 "$1" 2>/dev/null; do
        now=$(sed -n 's/^RssAnon:[[:space:]]*\([0-9]*\) kB/\1/p' "/proc/$1/status" 2>/dev/null)
        [ "${now:-0}" -gt "$largest" ] && largest=$now
        sleep 0.02
    done
    echo "$largest" >"$2"
}
measure() { # NAME COMMAND...
    name=$1 best=
    shift
    for _ in $(seq "$runs"); do
        rm -rf "$work/out"
        mkdir "$work/out"
        start=$(date +%s%N)
        "$@" >"$work/log" 2>&1 &
        pid=$!
        watch $pid "$work/kb" &
        wait $pid || { echo "$name failed:"; tail -n 5 "$work/log"; return 1; }
        took=$((($(date +%s%N) - start) / 1000000))
        wait
        { [ -z "$best" ] || [ "$took" -lt "$best" ]; } && best=$took
    done
    echo "$best" >"$work/ms.$name"
    echo "$name: $((best / 1000)).$(printf %03d $((best % 1000))) s, $((bytes / (best + 1) / 1000)) MB/s, $(($(cat "$work/kb") / 1024)) MB private"
}
measure plain "$recast" convert "$work/plain.json" -o "$work/out/x.gguf" -q
measure merged "$recast" convert "$work/merged.json" -o "$work/out/x.gguf" -q
measure merged-hf "$recast" convert "$work/hf.json" -o "$work/out/hf" -q
echo "merged / plain rate: 0.$(printf %03d $((1000 * $(cat "$work/ms.plain") / $(cat "$work/ms.merged"))))"
[ -n "${PEFT:-}" ] || { echo "PEFT is not measured (PEFT=PROGRAM)"; exit 0; }
measure peft "$PEFT" "$work/merge_all.py" "$checkpoint" "$work/adapter" "$work/out/hf" &&
    echo "PEFT / merged-hf time: $(($(cat "$work/ms.peft") / $(cat "$work/ms.merged-hf")))"
