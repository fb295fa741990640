# How validate is asked and what it writes: mistakes are found before the work, a report is one in either form.
. "$TOP/tests/cli/common"
model
recipe '{ "num_experts_per_tok": 4 }'
"$RECAST" build recipe.json -q
recast validate test --require structure,bogus
recast validate test --set name=x
recast validate test --require rebuild -q | tail -n 2
recast validate test --report text.txt >said.txt
grep -v "^exit" said.txt | cmp - text.txt && echo "both say it"
tail -n 1 text.txt
recast validate test --report report.json | tail -n 2
recast validate test --json --report report.txt >said.json
cmp report.json report.txt && grep -v "^exit" said.json | cmp - report.json && echo "JSON by name and by option"
grep verdict report.json
recast validate test --report junit.xml -q
head -n 2 junit.xml
grep -c '<testcase' junit.xml
(cd test && recast validate . --report ../dot.txt -q)
cmp text.txt dot.txt && echo "the same report"
recast run test -p x
# JUnit's XML, of a failure too
recast validate test --require rebuild --report failed.xml | tail -n 3
grep -A 1 '<testcase classname="rebuild"' failed.xml
# a check that fails while building: --json is JSON then, too
patch model/model-00002-of-00002.safetensors $(($(stat -c %s model/model-00002-of-00002.safetensors) - 2)) '\377\177'
recast build recipe.json -o nan --no-generate --json -q >nan.json
sed -n '1,2p;$p' nan.json
[ -e nan ] || echo "nothing appeared"
