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
echo "--- a context that slides"
recast run model -p "Blessed are the" -n 30 --context 16 --slide 2>&1 | sed "/tok.s/d"
recast run model -p "Blessed are the" -n 30 --context 16 --slide --json --threads 1 -q | grep -E '"(text|dropped)"'
recast run model -p "Blessed are the" -n 30 --context 7 --slide -q
recast run model --chat --slide </dev/null
recast run model -p x --recompute --slide
echo "--- memory, before it is allocated"
"$RECAST" run model -p "Blessed are the" -n 4 --threads 1 -v 2>&1 >/dev/null | grep memory
"$RECAST" run model -p "Blessed are the" -n 4 --threads 1 --kv f32 --json | sed -n '/"memory"/,/}/p' | sed 's/\("work": \)[0-9]*/\1N/'
"$RECAST" run model -p x -n 4000000000 2>&1 | grep -oE "warning: this needs.*machine|no memory.*would fit.*" | sed "s/to [0-9]*/to N/"
