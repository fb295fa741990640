# Every way to call the program wrongly is exit 2 and says what to do.
. "$TOP/tests/cli/common"
recast --version | sed 's/[0-9][0-9.]*[0-9]/N/'
recast
recast biuld
recast build
recast build a b
recast build --ouptut x
recast run
recast run model
recast run "$TOP/tests/data/tiny-qwen3moe" -p x -n many
recast run "$TOP/tests/data/tiny-qwen3moe" -p x --kv q4 2>&1
recast convert x
recast convert x -o y --hash
recast tokenize x
recast quantize model
"$RECAST" --help >/dev/full; echo "exit $?"
"$RECAST" --version >/dev/full; echo "exit $?"
