# What is said of adapters: by inspect of a GGUF that is one or was merged with one, by a build's report, by validate, and when an
# expression of target_modules can't be read. And integers above 2^53, which JSON shows with all digits.
. "$TOP/tests/cli/common"
model
cp -R "$TOP/tests/golden/lora/attention" .
chmod -R u+w .
cat >r.json <<END
{ "recipe": 1, "name": "Merged", "base": { "path": "model" }, "lora": [ { "path": "attention", "scale": 0.5 } ],
  "outputs": [ { "format": "gguf", "type": "bf16" }, { "format": "gguf", "type": "q8_0" } ], "validate": { "tokens": 4 } }
END
adapters() { "$RECAST" inspect "$@" | grep '^architecture\|^adapter\|^merged\|^made'; }
members() { # FILE MEMBER...
    "$RECAST" inspect "$1" --json | sed -n "/^  \"$2\":/,/^  }/p"
}

# inspect
recast convert attention --base model -o beside.gguf -q >/dev/null
recast convert r.json --output 1 -o merged.gguf -q >/dev/null
recast convert model -o plain.gguf -q >/dev/null
adapters beside.gguf
members beside.gguf adapter
members beside.gguf lora
adapters merged.gguf
members merged.gguf lora
adapters plain.gguf
"$RECAST" inspect plain.gguf --json | grep -c '^  "\(adapter\|lora\)"'

# a build records what the merged files say
"$RECAST" build r.json -o package 2>/dev/null | grep 'generation\|quality'
adapters package
"$RECAST" build r.json -o silent --no-generate 2>/dev/null | grep 'generation\|quality'
# which validate reproduces; figures of a merge are those of the recipe's own weights
"$RECAST" validate package | grep 'generation\|quality'
"$RECAST" validate package --source model --lora attention | grep 'generation\|quality'
"$RECAST" validate silent | grep 'quality'

# an expression that POSIX can't say: the merge is done, and what was not checked is told
tr '\n' ' ' <attention/adapter_config.json >config && sed 's/"target_modules": \[[^]]*\]/"target_modules": ".*(?<!x)_proj"/' config >attention/adapter_config.json
grep -c '(?<!x)_proj' attention/adapter_config.json
recast convert r.json --output 1 -o unread.gguf | grep -v '^[0-9a-f]\{64\}'
"$RECAST" convert r.json --output 1 --hash --json | grep targets_checked
"$RECAST" build r.json -o unread | grep 'adapters '
"$RECAST" run model --lora attention -p x -n 1 2>&1 >/dev/null | grep note
"$RECAST" convert attention --base model --hash 2>&1 >/dev/null
"$RECAST" convert r.json --output 1 --hash -q 2>&1 >/dev/null
cmp merged.gguf unread.gguf >/dev/null || echo "another file: the configuration's hash is in it"

# numbers
"$RECAST" inspect "$TOP/tests/golden/big-numbers.gguf" --json | grep 'x\.'
"$RECAST" inspect "$TOP/tests/golden/big-numbers.gguf" | grep 'x\.'
