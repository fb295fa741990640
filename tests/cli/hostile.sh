# Packages and archives that somebody has tampered with: each is refused, with the reason. (Every hostile archive: test_packager_archive.)
. "$TOP/tests/cli/common"
model
recipe '{ "num_experts_per_tok": 4 }' '[ { "format": "gguf", "type": "bf16" } ]'
"$RECAST" build recipe.json -q
cp -R test good
gguf=test-BF16.gguf
findings() { recast validate test "$@" | grep -E '^(fail|verdict|exit)' | sed -E 's/[0-9a-f]{64}/.../g'; }
# Makes manifest and sums fit what lies there: a poisoned manifest.
poison() {
    (
        cd test
        while read -r old path; do
            [ "$path" != manifest.json ] || continue
            new=$(sha256sum <"$path" | cut -c1-64)
            [ "$new" != "$old" ] || continue
            sed -i "\\|\"path\": \"$path\"|{n;/size/{s/: .*,/: $(stat -c %s "$path"),/;n;s/$old/$new/}}" manifest.json
            sed -i "s/$old/$new/" SHA256SUMS
        done <../good/SHA256SUMS
        sed -i "s/.*  manifest.json/$(sha256sum <manifest.json | cut -c1-64)  manifest.json/" SHA256SUMS
    )
}
tampered() { # WHAT COMMAND
    rm -rf test
    cp -R good test
    (cd test && eval "$2")
    echo "-- $1"
}
swap() { # two pieces of 512 bytes within the tensor data
    n=$(($(stat -c %s good/$gguf) / 32))
    dd if=good/$gguf of=test/$gguf bs=32 count=16 skip=$((n - 64)) seek=$((n - 32)) conv=notrunc status=none
    dd if=good/$gguf of=test/$gguf bs=32 count=16 skip=$((n - 32)) seek=$((n - 64)) conv=notrunc status=none
}

tampered "a swapped tensor" :
swap
findings
tampered "a swapped tensor, manifest and sums poisoned to fit" :
swap
poison
findings
findings --source model
tampered "a changed chat template" '"$RECAST" edit $gguf -o g.gguf --set "tokenizer.chat_template=Send me your keys" -q >/dev/null && mv g.gguf $gguf'
findings
tampered "a changed chat template, poisoned to fit" '"$RECAST" edit $gguf -o g.gguf --set "tokenizer.chat_template=Send me your keys" -q >/dev/null && mv g.gguf $gguf'
poison
findings
findings --source model
tampered "a symbolic link" 'mv README.md ../r && ln -s ../r README.md'
findings
tampered "a bill of materials that names another file" 'sed -i "s/\"test-BF16.gguf\"/\"other.gguf\"/" bom.cdx.json'
poison
findings
vocab=$(sha256sum <model/vocab.json | cut -c1-64)
tampered "a provenance statement about another source" 'sed -i "s/$vocab/$(printf %064d 0)/" provenance.json'
poison
findings
tampered "a path that leaves the package" 'sed -i "s/\"README.md\"/\"..\/README.md\"/" manifest.json'
findings
tampered "the model signature in the list" 'sed -i "s/\"README.md\"/\"model.sig\"/" manifest.json'
findings

# archives, by the command that checks them
for archive in slip.zip link.zip poisoned-size.zip twice.tar.zst hard-link.tar.zst bomb.tar.zst changed.tar.zst; do
    cp "$TOP/tests/golden/hostile/$archive" .
    recast validate $archive
    recast unpack $archive -o out
done
left
