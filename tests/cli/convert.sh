# Plain conversions, hash only, and that a recipe, its base and its outputs generate the same.
. "$TOP/tests/cli/common"
model
recast convert model -o bf16.gguf | sed -E 's/ +[0-9.]+ [kM]?B / SIZE /'
recast convert model --hash | sed -E 's/ +[0-9.]+ [kM]?B / SIZE /'
recast convert model -o f32.gguf --type f32 -q >/dev/null
recast convert model -o f16.gguf --type F16 -q >/dev/null
for m in model bf16.gguf f32.gguf f16.gguf; do
    echo "$m $("$RECAST" inspect $m --hashes | sed -nE 's/^weights +sha256 ([0-9a-f]*) \(computed\)$/\1/p')"
done
recast convert bf16.gguf -o again.gguf --type f32 -q >/dev/null
recast compare f32.gguf again.gguf
recast compare model bf16.gguf
recast compare model f16.gguf | tail -n 3
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "f32" }, { "format": "hf" } ]'
recast convert recipe.json -o x.gguf
recast convert recipe.json --output 1 -o x -q
recast convert recipe.json --output 1 -o x.gguf -q >/dev/null
recast convert recipe.json --output 2 -o hf -q >/dev/null
for m in recipe.json x.gguf hf; do
    "$RECAST" run $m -p "And the LORD said" -n 12 --kv f32 --json -q | sed -nE '/(text|sha256)"/p'
done
cmp model/model-00001-of-00002.safetensors hf/model-00001-of-00002.safetensors && echo "weights untouched"
diff model/config.json hf/config.json
recast convert x.gguf -o hf2
recast run f32.gguf -p x --json -n 1 --top 2 -q | grep -c '"top"'
echo "--- a GGUF whose keys alone change: its data can be shared, and lies where it did modulo 4096"
sed 's/"path": "model"/"path": "bf16.gguf"/' recipe.json >on-gguf.json
recast convert on-gguf.json --set 'outputs[0].type=bf16' --output 1 -o wide.gguf -q >/dev/null
"$RECAST" inspect wide.gguf | sed -n '/recast.pad/s/".*/.../p'
recast compare bf16.gguf wide.gguf
recast validate wide.gguf --source bf16.gguf -q | grep -v "not run"
