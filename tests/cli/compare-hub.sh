# compare with hf: names: is that variant untouched? Answered without its weights, from a Hub on this machine.
. "$TOP/tests/cli/common"
. "$TOP/tests/cli/hub_common"
model
base=$TOP/tests/data/tiny-qwen3moe
cp -R model variant
sed -i 's/"num_experts_per_tok": 8/"num_experts_per_tok": 16/; s/"rope_scaling": null/"rope_scaling": { "rope_type": "yarn", "factor": 4.0 }/' variant/config.json
cp -R variant touched
patch touched/model-00002-of-00002.safetensors 1000000 '\001'
cp -R model lacking
rm lacking/model-00002-of-00002.safetensors
sed -i 's/"temperature": 0.6/"temperature": 0.7/' lacking/generation_config.json
cp -R model words
sed -i 's/Egypt/Egyqt/' words/tokenizer.json
echo '{}' >words/special_tokens_map.json
mkdir other
printf 'x' >other/pytorch_model.bin
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "bf16" }, { "format": "gguf", "type": "q8_0" }, { "format": "hf" } ]'
"$RECAST" build recipe.json -o package --no-generate -q >/dev/null
mkdir gguf gguf2 plain
cp package/test-BF16.gguf gguf
"$RECAST" edit package/test-BF16.gguf -o gguf2/test-BF16.gguf --set qwen3moe.expert_used_count=12 -q >/dev/null
"$RECAST" convert model -o plain/m.gguf --type bf16 --no-hash -q >/dev/null
hub --cdn --repo me/base="$base" --repo me/same="$base" --repo me/variant=variant --repo me/touched=touched --repo me/lacking=lacking \
    --repo me/words=words --repo me/package=package --repo me/gguf=gguf --repo me/gguf2=gguf2 --repo me/plain=plain --repo me/other=other
compare() { echo "-- $*"; on_hub compare "$@" 2>&1 | sed -E 's/ at [0-9a-f]{12}//; s/(package), [0-9]+ files/\1, N files/'; }
HF_TOKEN=hf_reader
for what in same variant touched lacking words package gguf gguf2 plain other; do compare hf:me/base hf:me/$what; done
compare hf:me/gguf hf:me/gguf2
compare hf:me/package hf:me/gguf
# a local side
compare model hf:me/variant
compare hf:me/variant model
compare hf:me/base package/test-Q8_0.gguf
compare hf:me/base@main variant
compare hf:me/base hf:me/variant --json | sed -E 's/"fetched": .*/"fetched": N/'
# what can go wrong
compare hf:me/base hf:me/nothing
compare hf:me/base@no hf:me/same
compare hf:base hf:me/same
compare hf:me/base hf:me/same --html x.html
HF_HUB_OFFLINE=1 compare hf:me/base hf:me/same
unset HF_HUB_OFFLINE
grep -c LEAK log
# no weights were read: whole files of at most a few kilobytes, and the beginning of a GGUF
grep -c '^GET /cdn/.*206' log
