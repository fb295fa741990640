# A sweep's picture: the same bytes whoever makes it, and in the package of a recipe that names it.
. "$TOP/tests/cli/common"
model
head -c 1500 "$TOP/tests/golden/eval-text.txt" >text.txt
recast sweep model --text text.txt --experts 4,8,16 --rope default,yarn:4 --window 64,128 --picture one.svg --threads 1 >one.txt
(cd model && "$RECAST" sweep . --text ../text.txt --experts 4,8,16 --rope default,yarn:4 --window 64,128 --no-speed --picture ../two.svg --threads 3 >/dev/null)
cmp one.svg two.svg && echo "the same bytes"
echo "$(grep -c '<g transform' one.svg) charts, $(grep -c 'Perplexity' one.svg) of perplexity, $(grep -o 'http[^"]*' one.svg | sort -u), $(grep -c 'tok/s' one.svg) speeds"
cat >recipe.json <<'END'
{ "recipe": 1, "name": "test", "base": { "path": "model" }, "overrides": { "num_experts_per_tok": 16 },
  "outputs": [ { "format": "gguf", "type": "bf16" } ], "validate": { "prompts": [ "And the LORD" ], "tokens": 4 },
  "package": { "sweep": "./one.svg", "license": "apache-2.0" } }
END
recast build recipe.json -o out -q
cmp one.svg out/sweep.svg && ls out
grep -A 2 'What other settings' out/README.md | cut -c 1-80
grep 'sweep.svg' out/README.md | cut -c 1-60
grep -c 'sweep.svg' out/manifest.json out/SHA256SUMS out/recipe.json
grep '"package"' out/recipe.json
recast validate out --source model --require structure,hashes,source,rebuild,generation | tail -n 2
(cd out && recast build recipe.json --set 'base.path="../model"' -o ../again -q)
diff out/SHA256SUMS again/SHA256SUMS >/dev/null || echo "another recipe.json, since --set changed it: $(cmp out/sweep.svg again/sweep.svg && echo the same picture)"
echo x >>out/sweep.svg
recast validate out | grep -E 'fail|exit'
echo "--- mistakes"
echo 'a text' >no.svg
recast build recipe.json -o other -q --set package.sweep=no.svg
recast build recipe.json -o other -q --set package.sweep=nothing.svg
left
