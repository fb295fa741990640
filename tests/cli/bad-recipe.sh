# Recipes that ask for something wrong: the message names the JSON path.
. "$TOP/tests/cli/common"
model
attempt() {
    recast build recipe.json -o out -q
    left
}
recipe '{ "num_experts_per_token": 16 }'; attempt
recipe '{ "num_experts_per_tok": 200 }'; attempt
recipe '{ "num_experts_per_tok": 0 }'; attempt
recipe '{ "rope_scaling": { "rope_type": "yarn", "factor": 0, "original_max_position_embeddings": 256 } }'; attempt
recipe '{ "rope_scaling": { "rope_type": "linear", "factor": -4.0 } }'; attempt
recipe '{ "rope_scaling": { "rope_type": "yarn", "factor": 4.0 } }'; attempt
recipe '{ "max_position_embeddings": 2048, "rope_scaling": { "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256 } }'; attempt
recipe '{ "max_position_embeddings": 512 }'; attempt
recipe '{ "rope_scaling": { "rope_type": "dynamic", "factor": 4.0 } }'; attempt
recipe '{ "max_position_embeddings": 1024, "rope_scaling": { "rope_type": "dynamic", "factor": 4.0 } }'; attempt
recipe '{ "rope_scaling": { "rope_type": "longrope", "factor": 4.0 } }'; attempt
recipe '{}' '[ { "format": "gguf", "type": "iq2_m" } ]'; attempt
recipe '{}' '[ { "format": "onnx" } ]'; attempt
recipe '{}' '[]'; attempt
echo '{ "recipe": 2 }' >recipe.json; attempt
echo 'recipe: 1' >recipe.json; attempt
rm recipe.json; attempt
cat >recipe.json <<'END'
{ "recipe": 1, "name": "x", "base": { "repo": "Nobody/Nothing" }, "overrides": {}, "outputs": [ { "format": "hf" } ] }
END
HF_HUB_CACHE=cache attempt
recipe '{}'; recast build recipe.json -o out -q --set overrides.num_experts_per_tok=999
recast build recipe.json -o out -q --set nonsense
# a prompt that leaves no room is found before anything is converted
recast build recipe.json -o out -q --dry-run --set validate.tokens=2047
