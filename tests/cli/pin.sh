# Pins: written once, verified ever after.
. "$TOP/tests/cli/common"
model
recipe '{ "num_experts_per_tok": 12 }'
recast pin recipe.json
cat recipe.json
recast build recipe.json -o out -q
echo ' ' >>model/generation_config.json
recast build recipe.json -o out2 -q
recast pin recipe.json
model
patch model/model-00002-of-00002.safetensors 1600000 '\001\002'
recast build recipe.json -o out2 -q
left
