# What differs between two models, and text from a file that would drive a terminal.
. "$TOP/tests/cli/common"
model
cp -R model other
sed -i 's/"rms_norm_eps": [0-9.e-]*/"rms_norm_eps": 0.25/; s/"norm_topk_prob": true/"norm_topk_prob": false/' other/config.json
recast compare model other
recast compare model model
recast compare "$TOP/recipes/tiny-extreme.json" model | tail -n 6
cp "$TOP/tests/golden/other-architecture.gguf" escape.gguf
chmod u+w escape.gguf
at=$(grep -abo qwen3 escape.gguf | head -n 1 | cut -d: -f1)
patch escape.gguf "$at" '\033[31m'
recast inspect escape.gguf | head -n 3
at=$(grep -abo general.name escape.gguf | head -n 1 | cut -d: -f1)
patch escape.gguf "$((at + 8))" '\033[1m'
recast compare escape.gguf "$TOP/tests/golden/other-architecture.gguf" | grep -a '31m\|1m'
{ "$RECAST" run model -p x -n 5000 --ignore-end -q 2>errors; echo "exit $?" >status; } | head -c 1 >/dev/null
cat status errors
