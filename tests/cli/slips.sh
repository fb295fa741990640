# Slips of the hand: files that exist, names that mean something else, options by their old names, and a test run that is told to stop.
. "$TOP/tests/cli/common"
model
echo "== what exists is not overwritten unasked"
recast init model --experts 16 -o r.json -q 2>&1
cp r.json kept.json
recast init model --experts 12 -o r.json -q 2>&1
cmp r.json kept.json && echo "as it was"
recast init model --experts 12 --output r.json --replace -q 2>&1
grep num_experts r.json
recast convert model -o x.gguf -q
cp x.gguf kept.gguf
recast convert model -o x.gguf --type f32 -q
recast convert model x.gguf f32 --dry-run
recast convert model -o x.gguf --progress json # before anything is hashed
recast convert model -o x-{type}.gguf --type q8_0,q4_0 -q
recast convert model -o x-{type}.gguf --type bf16,q8_0 -q
cmp x.gguf kept.gguf && echo "as it was"
ls x*
recast convert model -o x.gguf --type f32 --replace -q
cmp -s x.gguf kept.gguf || echo "written anew"
recast convert x.gguf -o /dev/null --type bf16 -q
# what a killed run left says that the names are its own: it may have given some of them already
cp kept.gguf w-BF16.gguf
cp kept.gguf w-Q8_0.gguf
touch .w-Q8_0.gguf.0123456789abcdef.journal
recast convert model -o w-{type}.gguf --type bf16,q8_0 -q
touch .w-BF16.gguf.0123456789abcdef.journal
recast convert model -o w-{type}.gguf --type bf16,q8_0 -q
rm .w-* w-*
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "hf" } ]'
recast convert recipe.json -o hf -q
recast convert recipe.json -o hf -q
recast convert recipe.json -o hf --replace -q

echo "== nor by any other command, and that is asked before the work"
echo "In the beginning God created the heaven and the earth." >text.txt
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "bf16" } ], "package": { "archive": "zip" }'
mv recipe.json zip.json
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "hf" } ]'
"$RECAST" build zip.json -o made --no-generate --json -q | grep '"archive"'
# KEPT COMMAND...: refused with KEPT as it was; then written anew, whole
twice() {
    kept=$1
    shift
    echo "mine" >"$kept"
    recast "$@" -q
    [ "$(cat "$kept")" = mine ] && echo "as it was"
    "$RECAST" "$@" --replace -q >/dev/null || echo "exit $?"
    [ "$(head -c 4 "$kept")" != mine ] && echo "written anew"
}
twice a.zip package made -o a.zip
twice a.tar.zst package made -o a.tar.zst
twice a.sh launch made --engine llama.cpp -o a.sh
twice e.gguf edit x.gguf -o e.gguf --set general.author=str:me
twice s.html sweep model --text text.txt --experts 4 --window 8 --no-speed --html s.html
twice s.svg sweep model --text text.txt --experts 4 --window 8 --no-speed --picture s.svg
twice s.csv sweep model --text text.txt --experts 4 --window 8 --no-speed --csv s.csv
twice c.html compare model x.gguf --html c.html
twice v.xml validate made --report v.xml
twice b.zip build zip.json -o b --no-generate
recast edit x.gguf --in-place --replace --set general.author=me
rm -rf zip.json a.zip a.tar.zst a.sh e.gguf s.html s.svg s.csv c.html v.xml b b.zip

echo "== -q is quiet, but for what was asked"
recast convert model --hash -q | sed -E 's/ +[0-9.]+ [kM]?B / SIZE /'
recast convert model -o y.gguf -q --json | grep -c sha256
cp y.gguf z.gguf
recast edit y.gguf -o w.gguf --set qwen3moe.expert_used_count=16 -q
recast edit z.gguf --in-place --set qwen3moe.expert_used_count=16 -q
recast validate z.gguf --report z.txt -q
grep verdict z.txt
rm -rf w.gguf z.gguf z.txt made made.zip text.txt

echo "== a directory called like a file"
for name in x.bin x.safetensors x.GGUF x.tar.zst; do recast convert recipe.json -o $name -q; done
recast convert recipe.json -o Qwen3-0.6B -q
left

echo "== options by the name that others have, and by their old one"
for command in init launch; do "$RECAST" $command --help | grep -E -- '--(out|output) '; done
recast launch y.gguf --engine llama.cpp --output a.sh -q
recast launch y.gguf --engine llama.cpp --out b.sh -q
cmp a.sh b.sh && echo "the same"

echo "== a script that is written elsewhere finds the model from there"
mkdir sub
"$RECAST" launch y.gguf --engine ollama -o sub/Modelfile -q
grep -cF "FROM $PWD/y.gguf" sub/Modelfile
"$RECAST" launch y.gguf --engine ollama -q | grep FROM
echo "In the beginning God created the heaven and the earth." >text.txt
recast sweep model --text text.txt --rope foo 2>&1
recast sweep model --text text.txt --rope yarnish:4 2>&1

echo "== archives from a pipe"
mkfifo pipe.tar.zst
recast unpack pipe.tar.zst -o p

echo "== SIGTERM ends a run of the tests after the test at hand"
mkdir -p tree/tests/cli tree/build/tests
cp "$TOP/tests/run.sh" tree/tests
for n in 1 2 3; do
    echo "echo $n; touch '$PWD/began'; for i in 1 2 3 4 5 6 7 8 9 10; do [ -e '$PWD/told' ] || sleep 0.2; done" >tree/tests/cli/$n.sh
    echo $n >tree/tests/cli/$n.expected
done
env -u ONLY sh tree/tests/run.sh "$PWD/tree/build" >run.log 2>&1 &
pid=$!
for i in $(seq 100); do [ -e began ] && break; sleep 0.1; done
kill -TERM $pid
touch told
wait $pid
echo "exit $?"
cat run.log
