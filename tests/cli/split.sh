# A GGUF in several files is one model to every command, and a variant of a metadata-first set is one small file.
. "$TOP/tests/cli/common"
model
size() { sed -E 's/ +[0-9.]+ [kM]?B / SIZE /'; }
recast convert model -o whole.gguf --type bf16 -q >/dev/null
recast convert model -o tensors.gguf --type bf16 --split 10 | size
recast convert model -o bytes.gguf --type bf16 --split 1M | grep -v ^weights | size
recast convert model -o first.gguf --type bf16 --split metadata-first,2M | size
ls
for m in whole.gguf tensors-00001-of-00003.gguf bytes-00001-of-00006.gguf first-00001-of-00003.gguf; do
    echo "$m $("$RECAST" inspect $m --hashes | sed -nE 's/^weights +sha256 ([0-9a-f]*) \(computed\)$/\1/p')"
    "$RECAST" run $m -p "And the LORD said" -n 8 --kv f32 --json -q | sed -nE '/(text|logits_sha256)"/p'
done
recast compare whole.gguf bytes-00001-of-00006.gguf
recast convert bytes-00001-of-00006.gguf -o again.gguf -q >/dev/null
recast compare whole.gguf again.gguf
recast validate first-00001-of-00003.gguf --source model | grep -E "fail|verdict|exit"

# one small file
recast edit first-00001-of-00003.gguf -o new-00001-of-00003.gguf --set qwen3moe.expert_used_count=16 | size
recast compare first-00001-of-00003.gguf new-00001-of-00003.gguf
for i in 2 3; do cmp first-0000$i-of-00003.gguf new-0000$i-of-00003.gguf && echo "shard $i is shared"; done
recast edit first-00001-of-00003.gguf -o one.gguf --set qwen3moe.expert_used_count=16 | size
recast compare new-00001-of-00003.gguf one.gguf
recast compare one.gguf one.gguf

# a package of several files
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "bf16", "split": "metadata-first,2M" } ]'
recast build recipe.json -o package -q >/dev/null
ls package
recast validate package --source model | grep -E "^fail|rebuild|verdict|exit"
recast compare first-00001-of-00003.gguf package/test-BF16-00001-of-00003.gguf | tail -n 2
recast compare first-00001-of-00003.gguf package/test-BF16-00001-of-00003.gguf --json | sed -n '/download/,$p'
printf x | dd of=package/test-BF16-00003-of-00003.gguf bs=1 seek=1000 conv=notrunc status=none
recast validate package | grep -E "^fail|verdict|exit"
rm package/test-BF16-00003-of-00003.gguf
ln -s ../first-00003-of-00003.gguf package/test-BF16-00003-of-00003.gguf
recast validate package | grep -E "^fail|opens|verdict|exit"

# what is refused
recast inspect bytes-00002-of-00006.gguf
mv bytes-00003-of-00006.gguf away.gguf
recast inspect bytes-00001-of-00006.gguf
cp tensors-00003-of-00003.gguf bytes-00003-of-00006.gguf
recast inspect bytes-00001-of-00006.gguf
recast validate "$PWD/bytes-00001-of-00006.gguf" | grep opens
recast inspect away.gguf
recast convert model -o x.gguf --split 48GB
recast convert model -o x --split 10
recast convert model -o x-00001-of-00002.gguf
recast convert recipe.json -o x.gguf --split 10
recast edit first-00001-of-00003.gguf -o new-00001-of-00002.gguf --set general.name=x
recast edit first-00001-of-00003.gguf -o new-00001-of-00003.gguf --replace --set split.count=u16:4
recast edit whole.gguf -o new-00001-of-00003.gguf --replace --set general.name=x
left
