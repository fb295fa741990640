# Generation from the command line.
. "$TOP/tests/cli/common"
model
recast run model -p "And the LORD said unto Moses," -n 24 -q
recast run "$TOP/recipes/tiny-extreme.json" -p "And the LORD said unto Moses," -n 24 -q
recast run model -p "Blessed are the" -n 16 --temp 0.8 --top-k 40 --top-p 0.9 --seed 7 -q
recast run model -p "Blessed are the" -n 16 --temp 0.8 --top-k 40 --top-p 0.9 --seed 7 -q --threads 1
recast run model -p "Blessed are the" -n 4 --context 8 -q
recast run model -p "Blessed are the" -n 300 -q >/dev/null
"$RECAST" run model -p "Blessed are the" -n 300 --context 400 2>&1 >/dev/null | grep -o "warning.*"
recast run model -p "" -n 4 -q
recast run model -p "$(head -c 2000 "$TOP/README.md")" -n 2 >/dev/null 2>warning; grep -o 'warning.*' warning | sed 's/[0-9]* positions/N positions/'
recast tokenize model -p "In the beginning"
printf '"a b"\n"\\u00e9<|im_end|>"\n' | "$RECAST" tokenize model --jsonl
printf 'In the' >text; recast tokenize model -f text --json
echo '17' | "$RECAST" tokenize model --jsonl
