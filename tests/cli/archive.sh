# Archives: the evidence as .zip, everything as .tar.zst, both checked as they are; unpacked elsewhere it is the same package.
. "$TOP/tests/cli/common"
keys=$TOP/tests/golden/signed
model
recipe '{ "num_experts_per_tok": 4 }' '[ { "format": "gguf", "type": "bf16" }, { "format": "hf" } ]'
"$RECAST" build recipe.json -q
sizes() { sed -E 's/[0-9.]+ [kM]B/.../g; s/[0-9]{6,} bytes/... bytes/; s/become [0-9]{6,};/become ...;/'; }
recast package test -o test.zip | sizes
recast package test -o test.tar.zst | sizes
recast package test -o plain.tar.zst --plain --level 1 -q
mkdir elsewhere plain
recast unpack test.tar.zst -o elsewhere/test | sizes
diff -r test elsewhere/test && echo "the same package"
mkdir threads
for n in 1 2 5; do
    "$RECAST" unpack test.tar.zst -o threads/$n --threads $n -q
    diff -r test threads/$n || echo "another with $n threads"
done
recast unpack plain.tar.zst -q
diff -r test plain && echo "and without planes"
recast unpack plain.tar.zst -o plain
recast unpack plain.tar.zst -o plain --replace -q
recast unpack test.zip -o evidence | sizes
ls evidence evidence/hf | tr '\n' ' '
echo

recast validate test.zip
recast validate test.tar.zst | tail -n 2
"$RECAST" validate test --report a.txt -q
"$RECAST" validate test.tar.zst --report b.txt -q
cmp a.txt b.txt && echo "the same report"
"$RECAST" sign test --key "$keys/p256.key.pem" -q
recast package test -o signed.zip -q
recast validate signed.zip --key "$keys/p256.pub.pem" | grep -E 'signature|^verdict|^exit'
recast validate signed.zip --require structure -q | tail -n 2
ls "$TMPDIR" | grep -c '^recast-......$'

# from a recipe: signed, and packed beside the directory
mkdir keys
cp "$keys/p384.key.pem" keys/mine.pem
cat >recipe.json <<END
{ "recipe": 1, "name": "test", "base": { "path": "model" }, "overrides": { "num_experts_per_tok": 4 },
  "outputs": [ { "format": "gguf", "type": "bf16" } ], "validate": { "tokens": 4 },
  "package": { "sign_key": "keys/mine.pem", "archive": "zip" } }
END
"$RECAST" build recipe.json -o made | tail -n 1
recast validate made.zip --key "$keys/p384.pub.pem" | grep -E 'signature|^verdict|^exit'
grep -c sign_key made/recipe.json
recast build recipe.json -o none --set package.sign_key=keys/other.pem -q
left | tr ' ' '\n' | grep -c none

# names, options, mistakes
recast package test -o test.rar
recast package test
recast package model -o model.zip
recast package test -o test.zip --level 30
recast unpack test.zip -o t --max-size 5Q
recast unpack test.tar.zst -o t --max-size 1M 2>&1 | sizes
recast unpack recipe.json -o t
recast unpack recipe.json
recast unpack absent.zip -o t
[ -e t ] || echo "nothing appeared"
