#!/bin/sh
# demo.sh RECAST -- the main job on the bundled tiny model, as the README describes it.
set -e
recast=$1
out=out/tiny-extreme
mkdir -p out

echo "== recast build recipes/tiny-extreme.json: 16 of 128 experts, 4x context by YaRN"
"$recast" build recipes/tiny-extreme.json -o $out --replace

echo
echo "== what was made"
"$recast" inspect $out/*-BF16.gguf

echo
echo "== does it follow from its source?"
"$recast" validate $out --source tests/data/tiny-qwen3moe

echo
echo "== a few lines from it (1.76 M parameters, trained on the King James Bible: expect the tone, not the sense)"
"$recast" run $out/*-BF16.gguf -p "And the LORD said unto Moses," -n 48

echo
echo "== sign a copy with a throw-away key, pack it, unpack it elsewhere, check it there"
elsewhere=$(mktemp -d "${TMPDIR:-/tmp}/recast-demo.XXXXXX")
trap 'rm -rf "$elsewhere"' EXIT # the key too: what it has signed must not stay, or nobody could check it
cp -R $out "$elsewhere/signed"
openssl ecparam -name prime256v1 -genkey -noout -out "$elsewhere/key.pem"
openssl ec -in "$elsewhere/key.pem" -pubout -out "$elsewhere/key.pub.pem" 2>/dev/null
"$recast" sign "$elsewhere/signed" --key "$elsewhere/key.pem"
"$recast" package "$elsewhere/signed" -o "$elsewhere/tiny-extreme.tar.zst"
"$recast" unpack "$elsewhere/tiny-extreme.tar.zst" -o "$elsewhere/tiny-extreme"
"$recast" validate "$elsewhere/tiny-extreme" --key "$elsewhere/key.pub.pem" --require structure,hashes,generation,signature

echo
echo "The package is $out: $(ls $out | tr '\n' ' ')"
echo "It is not signed; the copy that was is gone, with its key. With a key of your own (docs/signing.md):"
echo "    openssl ecparam -name prime256v1 -genkey -noout -out mine.pem && openssl ec -in mine.pem -pubout -out mine.pub.pem"
echo "    $recast sign $out --key mine.pem && $recast validate $out --key mine.pub.pem"
