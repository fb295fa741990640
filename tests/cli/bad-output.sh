# Where output can't go: a clear message, and what was there before stays as it was.
. "$TOP/tests/cli/common"
model
recipe '{ "num_experts_per_tok": 12 }'
"$RECAST" convert model -o old.gguf -q >/dev/null
cp old.gguf kept.gguf
echo "== a file-size limit, as a full disk would"
(ulimit -f 1000; recast convert model -o old.gguf --replace --type f32 -q) 2>&1
(ulimit -f 1000; recast build recipe.json -o out -q) 2>&1 | sed "s/\\.out\\.[0-9a-f]*\\.partial/STAGING/"
cmp old.gguf kept.gguf && echo "the old file is as it was"
echo "== no such directory"
recast convert model -o nowhere/x.gguf -q
echo "== not a directory"
recast convert model -o model/config.json/x.gguf -q
echo "== a directory that refuses"
recast convert model -o /proc/x.gguf -q
echo "== over the source"
recast convert old.gguf -o old.gguf --type f32 -q
recast convert old.gguf -o old.gguf --type f32 --replace -q
recast edit old.gguf -o old.gguf --set general.author=str:me -q
recast edit old.gguf -o old.gguf --set general.author=str:me --replace -q
ln -s old.gguf link.gguf
ln old.gguf twin.gguf
recast edit link.gguf -o old.gguf --replace --set general.author=str:me -q
recast edit twin.gguf -o old.gguf --replace --set general.author=str:me -q
cmp old.gguf kept.gguf && echo "the old file is as it was"
rm link.gguf twin.gguf
recast build recipe.json -o model -q
recast convert recipe.json --output 1 -o recipe.json -q
diff -r "$TOP/tests/data/tiny-qwen3moe" model && echo "the source is as it was"
left
