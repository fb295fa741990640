# Adapters: merged into a GGUF and the Hugging Face form, proved, kept beside the model; mistakes.
. "$TOP/tests/cli/common"
model
cp -R "$TOP/tests/golden/lora/attention" "$TOP/tests/golden/lora/experts" "$TOP/tests/golden/lora/one-layer" .
chmod -R u+w .
recipe() { # LORA OUTPUTS
    cat >r.json <<E
{ "recipe": 1, "name": "Merged", "base": { "path": "model" }, "lora": [ $1 ],
  "outputs": [ $2 ], "validate": { "tokens": 4 } }
E
}
BF16='{ "format": "gguf", "type": "bf16" }'
recipe '{ "path": "attention" }' "$BF16, { \"format\": \"hf\" }, { \"format\": \"gguf-lora\" }"
recast convert r.json --output 1 -o a.gguf -q
recast convert r.json --output 1 --hash --threads 3
recast compare model a.gguf | tail -n 3
recast validate a.gguf --source model | grep 'not run  source\|verdict'
recast validate a.gguf --source model --lora attention | grep 'source\|verdict'
recast validate a.gguf --source model --lora one-layer | grep 'fail\|verdict'

# only weight files with changed tensors are written, the rest is the base's
recipe '{ "path": "one-layer", "scale": 0.5 }' '{ "format": "hf" }'
recast convert r.json -o hf -q --link
for f in model/*; do cmp -s "$f" "hf/${f##*/}" && echo "same ${f##*/}" || echo "other ${f##*/}"; done
recast compare model hf

# a package: pinned, rebuilt with the adapter, without it said
recipe '{ "path": "experts" }' "$BF16, { \"format\": \"gguf-lora\" }"
recast build r.json -o package | grep '^merged\|^weights'
grep -A 9 '"lora"' package/recipe.json
recast validate package --source model --lora experts --require source,rebuild | grep 'rebuild\|adapters\|digest\|verdict'
recast validate package --source model | grep 'not run  source.*recipe'

# beside the model: the logits of the merged one
recast convert experts --base model -o beside.gguf
hash_of() { "$RECAST" run "$@" -p "In the beginning" -n 4 --json | sed -n 's/.*"logits_sha256": "\(.*\)".*/\1/p'; }
recast convert model -o base.gguf -q
merged=$(hash_of package/Merged-BF16.gguf)
for way in "base.gguf --lora beside.gguf" "base.gguf --lora experts" "model --lora beside.gguf" "model --lora experts:1"; do
    # shellcheck disable=SC2086
    [ "$(hash_of $way)" = "$merged" ] && echo "same bits: $way"
done
[ "$(hash_of base.gguf --lora beside.gguf:2)" = "$merged" ] || echo "another scale, other bits"

# what an adapter says of itself
recast inspect experts
recast inspect attention --json
sed -i 's/"r": [0-9]*/"r": 77/' one-layer/adapter_config.json
recast inspect one-layer

# mistakes
recast convert r.json --output 1 -o x.gguf --set 'base.path=base.gguf'
recast convert r.json --output 1 -o x.gguf --set 'lora[0].path=nowhere'
recast convert r.json --output 1 -o x.gguf --set 'lora[0].path=beside.gguf'
recast run base.gguf --lora base.gguf -p x
recast run base.gguf --lora attention:0 -p x
recast convert attention --base base.gguf -o x.gguf
recast convert attention --base model -o x
recast convert experts -o x.gguf
printf '\0\0\300\177' | dd of=attention/adapter_model.safetensors bs=1 seek=$(($(wc -c <attention/adapter_model.safetensors) - 4)) conv=notrunc 2>/dev/null
recipe '{ "path": "attention" }' "$BF16"
recast convert r.json -o x.gguf -q
recast convert attention --base model -o x.gguf -q
mv attention/adapter_model.safetensors attention/adapter_model.bin
recast convert r.json -o x.gguf
ls
