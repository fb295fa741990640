# A checkpoint of an architecture that Recast does not know: its Hugging Face form can be derived, its GGUF form cannot.
. "$TOP/tests/cli/common"
model
sed -i 's/Qwen3MoeForCausalLM/FooForCausalLM/' model/config.json
recipe '{ "num_experts_per_tok": 4, "max_position_embeddings": 200 }' '[ { "format": "hf" } ]'
recast convert recipe.json -o hf -q | tail -n 1
diff model/config.json hf/config.json
recast convert model -o x.gguf -q
left
