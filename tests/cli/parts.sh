# One file made by several processes, in any order: the bytes of one process. --join says what is missing or has changed.
. "$TOP/tests/cli/common"
model
"$RECAST" convert model -o whole.gguf --type q8_0 -q >/dev/null
recast convert model -o x.gguf --type q8_0 --join
recast convert model -o x.gguf --type q8_0 --part 3/3
recast convert model -o x.gguf --type q8_0 --part 1/3
recast convert model -o x.gguf --type q8_0 --join
recast convert model -o x.gguf --type q8_0 --part 1/3
# two at once
"$RECAST" convert model -o x.gguf --type q8_0 --part 2/3 >/dev/null &
"$RECAST" convert model -o x.gguf --type q8_0 --part 3/3 --restart >/dev/null
wait
echo "--- a byte of part 2 changes"
patch .x.gguf.*.partial 1000000 '\001\002\003\004'
recast convert model -o x.gguf --type q8_0 --join | sed 's/SHA-256 [0-9a-f]*/SHA-256 .../'
recast convert model -o x.gguf --type q8_0 --part 2/3 --restart
recast convert model -o x.gguf --type q8_0 --join -q
cmp x.gguf whole.gguf && echo same bytes
left
echo "--- with pins, from a recipe"
recipe '{ "num_experts_per_tok": 4 }'
recast pin recipe.json -q >/dev/null
recast convert recipe.json -o y.gguf --part 1/2 -q
recast convert recipe.json -o y.gguf --part 2/2 --json
recast convert recipe.json -o y.gguf --join -q
"$RECAST" convert recipe.json -o z.gguf -q >/dev/null
cmp y.gguf z.gguf && echo same bytes
left
echo "--- mistakes"
recast convert model -o x.gguf --part 4/3
recast convert model -o x.gguf --part 0/3
recast convert model -o x.gguf --part 1/3 --join
recast convert model -o x-00001-of-00002.gguf --split 1M --part 1/3
recast convert model -o hf --part 1/3
