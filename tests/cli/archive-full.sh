# There is room for the package, but not for its archive: the package stands, and the message says which is which.
. "$TOP/tests/cli/common"
model
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "bf16" }, { "format": "gguf", "type": "f16" }, { "format": "hf" } ]'
# no file above 3.8 MB: the largest are the GGUFs, of 3.6 MB
(ulimit -f 7400 && "$RECAST" build recipe.json -o out -q --no-generate --set package.archive=tar.zst 2>&1 >/dev/null) | sed -E 's/at byte [0-9]+/at byte N/'
left
"$RECAST" validate out -q | tail -n 1
