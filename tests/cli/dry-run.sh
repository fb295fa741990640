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
figure() { sed -nE "s/^ *\"$2\": ([0-9]+),?\$/\1/p" "$1"; }
"$RECAST" build recipe.json -o other --dry-run --json --set package.archive=zip >zip.json
"$RECAST" build recipe.json -o other --dry-run --json --set package.archive=tar.zst >tar.json
# hashes of tensors read what tensors have; what stands beside the artifacts takes what was said, give or take
tensors=$(for f in out/*.gguf; do "$RECAST" launch $f --engine llama.cpp --json | figure /dev/stdin weights; done | awk '{ n += $1 } END { print n }')
beside=$(cd out && find . -type f ! -name '*.gguf' ! -path './hf/*' -printf '%s\n' | awk '{ n += $1 } END { print n }')
[ "$(figure zip.json tensor_hash_bytes)" = "$tensors" ] && echo "the tensors' bytes"
said=$(figure zip.json evidence_bytes)
[ "$beside" -le "$said" ] && [ "$said" -le $((4 * beside)) ] && echo "about the evidence's" || echo "$beside bytes, said $said"
"$RECAST" package out -o made.zip -q
"$RECAST" package out -o made.tar.zst -q
for k in zip tar; do
    size=$(stat -c %s made.$k*)
    [ "$size" -le "$(figure $k.json archive_bytes)" ] && echo "$k: as large as said, at most" || echo "$size bytes, said $(figure $k.json archive_bytes)"
done
all=$(find out -type f -printf '%s\n' | awk '{ n += $1 } END { print n }')
[ "$(figure zip.json output_bytes)" -ge $((all + $(stat -c %s made.zip))) ] && echo "room for all of it"
recast convert recipe.json --output 1 -o y.gguf --no-hash -q
recast convert recipe.json --output 1 -o z.gguf -q >/dev/null
cmp y.gguf z.gguf && echo "pins give the same bytes without a hash of the output"
recast convert model -o n.gguf --no-hash -q
"$RECAST" inspect n.gguf --json | grep -c 'recast\.source\.sha256\|recast.weights.sha256'
