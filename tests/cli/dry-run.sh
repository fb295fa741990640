# --dry-run says what would be made and makes nothing; sizes are those of the files that are made then.
. "$TOP/tests/cli/common"
model
# free space, what the page cache may hold and how many buffers the threads want differ from machine to machine
plan() { "$RECAST" "$@" | sed -E 's/, [^,]* free$/, SOME free/; s/may hold .*/may hold SOME/; s/^(memory|time ) .*/\1   SOME/'; }
sizes() { sed -nE 's/^ *"size": *([0-9]+),?$/\1/p'; }
plan convert model -o x.gguf --dry-run
plan convert model --hash --dry-run
plan convert model -o x.gguf --no-hash --dry-run
plan convert model -o x --dry-run
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "bf16" }, { "format": "hf" }, { "format": "gguf", "type": "f32" } ]'
plan build recipe.json -o out --dry-run
recast pin recipe.json -q
plan build recipe.json -o out --dry-run
plan build recipe.json -o out --dry-run --json | grep -vE '_bytes"|"seconds"|"size"'
left
recast build recipe.json -o out --dry-run --json | sizes >planned
recast build recipe.json -o out --no-generate --json | sizes >made
sort planned >a; sort made >b; cmp a b && echo "the same $(wc -l <a) sizes"
recast convert recipe.json --output 1 -o y.gguf --no-hash -q
recast convert recipe.json --output 1 -o z.gguf -q >/dev/null
cmp y.gguf z.gguf && echo "pins give the same bytes without a hash of the output"
recast convert model -o n.gguf --no-hash -q
"$RECAST" inspect n.gguf --json | grep -c 'recast\.source\.sha256\|recast.weights.sha256'
