# Signing: by key and by certificates, checked with the right key, a wrong one and none; what was signed must be what is there.
. "$TOP/tests/cli/common"
keys=$TOP/tests/golden/signed
model
recipe '{ "num_experts_per_tok": 4 }' '[ { "format": "gguf", "type": "bf16" } ]'
"$RECAST" build recipe.json --no-generate -q
# hashes of files that hold prose change with it
without() { sed -E 's/SHA-256 (is )?[0-9a-f]{64}, (signed was|the manifest says) [0-9a-f]{64}/SHA-256 ..., \2 .../; s/[0-9.]+ [kM]B/... bytes/'; }
verdict() { recast validate test "$@" | grep -E 'signature|^verdict|^exit' | without; }

verdict
verdict --key "$keys/p256.pub.pem"
recast sign test --key "$keys/p256.key.pem" | without
verdict --key "$keys/p256.pub.pem"
verdict
verdict --require signature
verdict --key "$keys/p384.pub.pem"
verdict --trust "$keys/ca.pem"
"$RECAST" validate test --key "$keys/p256.pub.pem" --json | grep -E '"(verdict|signed_by)"'
# the statement is signed with the same key: openssl agrees
part() { sed 's/.*"'$1'":"\([^"]*\)".*/\1/' test/provenance.intoto.jsonl | base64 -d; }
part payload | cmp - test/provenance.json
{ printf 'DSSEv1 28 application/vnd.in-toto+json %d ' "$(stat -c %s test/provenance.json)"; part payload; } >pae
part sig >sig
openssl dgst -sha256 -verify "$keys/p256.pub.pem" -signature sig pae

# what is there must be what was signed
cp -R test signed
changed() { # WHAT COMMAND
    rm -rf test
    cp -R signed test
    (cd test && eval "$2")
    echo "-- $1"
    verdict --key "$keys/p256.pub.pem"
}
changed "another statement" 'sed -i "s/recast/recost/" provenance.json'
changed "a statement signed by another" 'sed "s/\"payload\":\"e/\"payload\":\"f/" -i provenance.intoto.jsonl'
changed "an added file" 'echo x >added.txt'
changed "no signature, though one is asked for" 'rm model.sig'
changed "a cut signature" 'head -c 300 model.sig >s && mv s model.sig'
changed "a signature that is a link" 'mv model.sig ../m.sig && ln -s ../m.sig model.sig'
changed "the manifest and sums poisoned to fit" 'old=$(sha256sum <README.md | cut -c1-64) size=$(stat -c %s README.md)
    printf "# mine\n" >README.md
    new=$(sha256sum <README.md | cut -c1-64)
    sed -i "s/$old/$new/; s/: $size,/: 7,/" manifest.json
    sed -i "s/$old/$new/; s/.*  manifest.json/$(sha256sum <manifest.json | cut -c1-64)  manifest.json/" SHA256SUMS'

# nothing is signed that does not agree with its manifest
rm -rf test
cp -R signed test
echo x >>test/README.md
recast sign test --key "$keys/p256.key.pem" -q 2>&1 | without
cmp test/model.sig signed/model.sig

# by certificates
rm -rf test
mv signed test
recast sign test --key "$keys/leaf.key.pem" --chain "$keys/leaf.pem" | without
verdict --trust "$keys/ca.pem"
verdict --trust "$keys/other-ca.pem"
verdict --key "$keys/p256.pub.pem"

# keys from the environment; none at all; wrong ones
MY_KEY=$(cat "$keys/p521.key.pem") recast sign test --key env:MY_KEY -q
verdict --key "$keys/p521.pub.pem"
RECAST_SIGN_KEY=$(cat "$keys/p384.key.pem") recast sign test -q
verdict --key "$keys/p384.pub.pem"
recast sign test
recast sign test --key env:NO_SUCH
cp "$keys/leaf.pem" c.pem
recast sign test --key c.pem
cp "$keys/p256.key.pem" k.pem
recast sign test --key k.pem --chain c.pem

# any directory, here the checkpoint
recast sign model --key "$keys/p256.key.pem" --name tiny | without
recast validate model --key "$keys/p256.pub.pem" | grep -E 'signature|^verdict|^exit'
mkdir model/.cache && touch model/.cache/x
recast validate model --key "$keys/p256.pub.pem" | grep -E 'signature|^verdict|^exit'
touch model/more
recast validate model --key "$keys/p256.pub.pem" | grep -E 'signature|^verdict|^exit'
recast validate model --key "$keys/p256.pub.pem" --ignore more | grep -E 'signature|^verdict|^exit'
recast validate model/config.json --key "$keys/p256.pub.pem" | grep -E 'signature|^verdict|^exit'
