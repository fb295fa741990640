# The Hugging Face form from one reading of the source: the same bytes with pins, without and for the hash alone; nothing
# appears when a pin does not hold.
. "$TOP/tests/cli/common"
model
cp -R "$TOP/tests/golden/lora/attention" .
chmod -R u+w .
cat >r.json <<END
{ "recipe": 1, "name": "Merged", "base": { "path": "model" }, "lora": [ { "path": "attention" } ],
  "outputs": [ { "format": "hf" } ], "validate": { "tokens": 4 } }
END
recast convert r.json -o unpinned >unpinned.txt
recast convert r.json --hash --threads 1 | cmp - unpinned.txt && echo "the hash alone: the same"
recast pin r.json -q
recast convert r.json -o pinned --threads 3 | cmp - unpinned.txt && echo "pinned: the same"
recast convert r.json -o unhashed --no-hash -q >/dev/null
for d in pinned unhashed; do diff -r unpinned "$d" && echo "$d: the same files"; done
sed -n 's/^\([0-9a-f]\{64\}\)  .*  \(.*\)/\1  unpinned\/\2/p' unpinned.txt | sha256sum -c --quiet && echo "and their hashes"
recast convert model -o copy | grep -c '^[0-9a-f]\{64\}  '
diff -r model copy && echo "a copy"
# all files are open at once; the limit that a shell begins with is no limit
(ulimit -Sn 24 && "$RECAST" convert model -o many -q >/dev/null) && diff -r model many && echo "many files"
(ulimit -Sn 24 && "$RECAST" convert model -o many.gguf --split 2 -q >/dev/null) && ls many-*.gguf | wc -l
rm -r many many-*.gguf

# one pin is wrong, the others are absent: found in the pass, compared after it
for pin in '"sha256": { "merges.txt": "'"$(printf %064d 1)"'" }' '"weights_sha256": "'"$(printf %064d 2)"'"'; do
    cat >wrong.json <<END
{ "recipe": 1, "name": "x", "base": { "path": "model", $pin }, "outputs": [ { "format": "hf" } ] }
END
    recast convert wrong.json -o wrong
done

# all are pinned, and a byte of the weights is another
cp -R model damaged
f=damaged/model-00001-of-00002.safetensors
patch $f $(($(wc -c <$f) - 1)) '\001'
for out in "convert r.json -o wrong" "convert r.json -o wrong --no-hash" "convert r.json --hash" "build r.json -o wrong"; do
    # shellcheck disable=SC2086
    recast $out --set base.path=damaged -q
done
ls -A
