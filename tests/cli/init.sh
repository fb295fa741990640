# A recipe for a known release or a local checkpoint, and what is said about it.
. "$TOP/tests/cli/common"
recast init --list
init() { echo "-- $*"; recast init "$@" 2>&1; }
init Qwen3-30B-A3B --experts 16 --context 131072
init qwen/qwen3-30b-a3b --experts 12 --context 262144 --rope linear
init Qwen3-30B-A3B --context 131072 --rope dynamic
init Qwen3-30B-A3B --context 40000
init Qwen3-30B-A3B
init Qwen3-30B-A3B-Instruct-2507 --experts 16 --context 131072
init Qwen3-Coder-30B-A3B-Instruct --context 1048576 -o coder.json
cat coder.json
init Qwen3-8B --context 131072 --factor 4
init Qwen3-8B --experts 16
init Qwen3-30B-A3B --experts 129
init Qwen3-30B-A3B --experts 8
init Qwen3-30B-A3B --context 131072 --rope longrope
init Qwen3-30B-A3B --context 131072 --rope default
init Qwen3-30B-A3B --context 131072 --factor 2
init Qwen1.5-MoE-A2.7B --experts 8
init Qwen3.5-35B-A3B --experts 16
init Qwen3-Next-80B-A3B-Instruct
init Qwen3-30B-A6B
init nowhere
init
# every release gives a recipe that loads, or says why not
"$RECAST" init --list --json | sed -n 's/.*"repo": "\(.*\)".*/\1/p' | while read -r repo; do
    "$RECAST" init "$repo" -q -o one.json --replace >/dev/null 2>message || { cat message; continue; }
    "$RECAST" build one.json --dry-run 2>&1 | grep -o 'hf download' || "$RECAST" build one.json --dry-run
done | sed 's|Qwen/[^ ]*|R|' | sort | uniq -c
# a local checkpoint, and the whole way to a package
model
init model --experts 16 --context 1024 --name test -o recipe.json
cat recipe.json
recast build recipe.json -q --no-generate | tail -n 1
recast validate test --source model | tail -n 1
init model --context 512 --rope dynamic --json
mkdir elsewhere
init model --experts 4 -o elsewhere/r.json
grep -c "\"path\": \"$PWD/model\"" elsewhere/r.json
recast convert elsewhere/r.json -o x.gguf -q >/dev/null
init x.gguf
