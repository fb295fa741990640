#!/bin/sh
# eval_memory.sh RECAST [LAYERS] -- the most private memory (RssAnon) that `recast eval` takes, 2 windows of 512 tokens, layer by layer through a
# checkpoint in the full shape of Qwen3-30B-A3B that is a sparse file (sparse_checkpoint.py): 48 layers, 61 GB. Fails at 2 GB or more.
set -eu
recast=$1 layers=${2:-48} here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/recast-bench.XXXXXX")
pid=
trap '[ -z "$pid" ] || kill "$pid" 2>/dev/null; rm -rf "$work"' EXIT
trap 'exit 1' INT TERM
python3 "$here/sparse_checkpoint.py" "$work/model" "$layers"
"$recast" eval "$work/model" --text "$here/../tests/golden/eval-text.txt" --tokens 1024 --window 512 -v --progress none >"$work/out" 2>"$work/err" &
pid=$! most=0 start=$(date +%s)
while kill -0 "$pid" 2>/dev/null; do
    now=$(sed -n 's/^RssAnon:[^0-9]*\([0-9]*\) kB/\1/p' "/proc/$pid/status" 2>/dev/null || true)
    [ "${now:-0}" -le "$most" ] || most=$now
    sleep 0.1
done
status=0
wait "$pid" || status=$?
pid=
cat "$work/err"
head -n 3 "$work/out"
echo "exit $status; most private memory: $((most / 1024)) MiB; $(($(date +%s) - start)) s"
[ "$status" = 0 ] && [ "$most" -lt 2000000 ]
