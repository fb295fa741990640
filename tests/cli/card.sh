# The model card: the program's own, and one by a template of the recipe's.
. "$TOP/tests/cli/common"
model
cp "$TOP/tests/golden/eval-text.txt" text.txt
mkdir site
cat >site/CARD.md.in <<'END'
---
language: [en]
{{front_matter}}
---

# {{name}}, by hand

{{experts_used}} of {{experts}} experts, {{active_parameters}} parameters active; {{license}}.
{{#sweep}}
Nothing of this is shown.
{{/sweep}}

{{outputs}}

{{update}}
END
cat >site/recipe.json <<'END'
{ "recipe": 1, "name": "Tiny-A6B", "base": { "path": "../model" }, "overrides": { "num_experts_per_tok": 16 },
  "outputs": [ { "format": "gguf", "type": "bf16" }, { "format": "gguf", "type": "q4_0" } ],
  "validate": { "prompts": [ "And the LORD" ], "tokens": 4, "text": "../text.txt" },
  "package": { "license": "apache-2.0", "author": "<b>me</b>" , "card": "CARD.md.in" } }
END
recast build site/recipe.json -o out -q
cat out/README.md
cmp site/CARD.md.in out/README.md.in && grep -c 'README.md.in' out/manifest.json out/SHA256SUMS
grep '"package"' out/recipe.json
grep -E '"(source_)?perplexity' out/manifest.json
echo "--- checked, with and without its source; built again from its own recipe elsewhere"
recast validate out --source model --require structure,hashes,rebuild,generation | tail -n 2
(cd out && recast build recipe.json --set base.path=../model --set validate.text=../text.txt -o ../again -q)
cmp out/README.md again/README.md && cmp out/README.md.in again/README.md.in && echo "the same card"
recast package out -o out.zip -q
recast validate out.zip | tail -n 2
echo "changed" >>out/README.md.in
recast validate out | grep -E 'fail|verdict'
echo "--- the program's own card"
recast build site/recipe.json -o own -q --set 'package={"license":"apache-2.0","author":"<b>me</b>"}'
sed 's/`[0-9a-f]\{64\}`/`HASH`/g' own/README.md
ls own | grep -c README
echo "--- the digest of the metadata is the manifest's in bill of materials and card"
hex=$(sed -n 's/.*"metadata_sha256": "\([0-9a-f]*\)".*/\1/p' own/manifest.json | head -n 1)
echo "$(grep -c "$hex" own/README.md) $(grep -c "$hex" own/bom.cdx.json)"
sed -i "s/$hex/$(printf %064d 1)/" own/bom.cdx.json
recast validate own | grep 'bom.cdx.json' | cut -c 1-200
echo "--- a card that says other things, in a manifest that was made to fit"
poison() { # SED-SCRIPT
    cp -R again bad
    old=$(sha256sum <bad/README.md | cut -c 1-64) size=$(stat -c %s bad/README.md)
    sed -i "$1" bad/README.md
    new=$(sha256sum <bad/README.md | cut -c 1-64)
    sed -i "s/$old/$new/; s/: $size,/: $(stat -c %s bad/README.md),/" bad/manifest.json
    sed -i "s/$old/$new/; s/.*  manifest.json/$(sha256sum <bad/manifest.json | cut -c 1-64)  manifest.json/" bad/SHA256SUMS
    recast validate bad | grep -E 'fail|verdict'
    rm -rf bad
}
poison 's/^license: .*/license: "mit"/'
poison 's/^license: .*/base_model: "Org\/Else"/'
poison 's/^license: .*/&\n"license": mit/'
poison 's/^language: .*/language: [de]/'
echo "--- mistakes are found before anything is built"
bad() { printf '%b' "$1" >site/bad.md && recast build site/recipe.json -o other -q --set package.card=bad.md; }
bad '# {{nmae}}\n'
bad '# A\n{{#author}}\n'
bad '---\nbase_model: Org/Else\n{{front_matter}}\n---\n'
bad '<pre>\n{{generations}}\n</pre>\n'
recast build site/recipe.json -o other -q --set package.card=nothing.md
recast build site/recipe.json -o other -q --set package.card=7
left
