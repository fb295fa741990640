# A recipe's prompts as conversations: through the base's chat template, recorded as the text that it gives.
. "$TOP/tests/cli/common"
model
cat >recipe.json <<'END'
{ "recipe": 1, "name": "test", "base": { "path": "model" }, "overrides": { "num_experts_per_tok": 16 },
  "outputs": [ { "format": "gguf", "type": "bf16" }, { "format": "gguf", "type": "q8_0" } ],
  "validate": { "tokens": 4, "prompts": [ "And the LORD",
    { "messages": [ { "role": "system", "content": "Be short." }, { "role": "user", "content": "Who made the heaven?" } ] } ] } }
END
recast build recipe.json -o out -q
grep '"prompt"' out/manifest.json
recast validate out --source model --require generation | grep -E 'generation|verdict|exit'
echo "--- the same as asking"
"$RECAST" run recipe.json --chat --system "Be short." -p "Who made the heaven?" -n 4 --kv f32 --ignore-end --json >answer.json
grep -c "$(sed -n 's/.*"logits_sha256": "\(.*\)".*/\1/p' answer.json)" out/manifest.json
echo "--- a template that nobody knows"
sed -i 's/<|im_start|>assistant/<|im_start|>model/' model/tokenizer_config.json
recast build recipe.json -o other -q
recast build recipe.json -o other -q --no-generate | tail -n 1
recast validate out/test-BF16.gguf --source model --recipe recipe.json | grep -E 'fail.*generation'
sed -i '/"chat_template"/d' model/tokenizer_config.json
recast build recipe.json -o another -q
left
