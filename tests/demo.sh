#!/bin/sh
# demo.sh RECAST -- the main job on the bundled tiny model, as the README describes it.
set -e
recast=$1
out=out/tiny-extreme
mkdir -p out

echo "== recast build recipes/tiny-extreme.json: 16 of 128 experts, 4x context by YaRN"
"$recast" build recipes/tiny-extreme.json -o $out --replace

echo
echo "== what was made"
"$recast" inspect $out/*-BF16.gguf

echo
echo "== does it follow from its source?"
"$recast" validate $out --source tests/data/tiny-qwen3moe

echo
echo "== a few lines from it (1.76 M parameters, trained on the King James Bible: expect the tone, not the sense)"
"$recast" run $out/*-BF16.gguf -p "And the LORD said unto Moses," -n 48

echo
echo "The package is $out: $(ls $out | tr '\n' ' ')"
