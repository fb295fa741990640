# Quantizing: presets by any of their names, several from one reading, types by name, fallbacks, limits of a recipe, and what compare
# shows of the cost.
. "$TOP/tests/cli/common"
model
echo "--- a preset by its name in any case, its number, its alias, and llama-quantize's order"
for t in q4_k_m Q4_K_M 15 q4_k; do "$RECAST" convert model -o x.gguf --replace --type $t --json -q | sed -n 's/ *"sha256": //p' | cut -c 1-64; done >hashes
"$RECAST" convert model y.gguf Q4_K_M --json -q | sed -n 's/ *"sha256": //p' | cut -c 1-64 >>hashes
wc -l <hashes
sort -u hashes | wc -l
recast convert model -o x.gguf --type q9_k -q
recast convert model -o x.gguf --type 999 -q
echo "--- fallbacks are named"
recast convert model -o x.gguf --replace --type q6_k 2>&1 | sed -E 's/^[0-9a-f]{64} +[0-9.]+ [kM]?B /SHA256 SIZE /'
echo "--- several types from one reading"
recast convert model -o 'm-{type}.gguf' --type q8_0,q4_0,iq4_nl 2>/dev/null | grep -v ^weights | sed -E 's/^[0-9a-f]{64} +[0-9.]+ [kM]?B /SHA256 SIZE /'
"$RECAST" convert model -o one.gguf --type iq4_nl -q >/dev/null
cmp one.gguf m-IQ4_NL.gguf && echo "the same bytes as alone"
recast convert model -o m.gguf --type q8_0,q4_0 -q
recast convert model -o 'm-{type}.gguf' --type q8_0,Q8_0 -q
echo "--- types of one's own"
types() { "$RECAST" inspect "$1" --json | sed -nE 's/.*"name": *"('"$2"')".*/\1/p; s/.*"type": *"([A-Z0-9_]+)".*/  \1/p' | grep -A1 -E "^($2)\$" | grep -v '^--'; }
"$RECAST" convert model -o own.gguf --type q4_0 --tensor-type 'attn_v=q8_0' --tensor-type 'ffn_down=Q5_1' --output-type q8_0 -q >/dev/null
types own.gguf 'output.weight|blk.0.attn_v.weight|blk.0.ffn_down_exps.weight|blk.0.attn_q.weight'
printf 'attn_v=q8_0\nffn_down=Q5_1\n' >types.txt
"$RECAST" convert model -o file.gguf --type q4_0 --tensor-type-file types.txt --output-type q8_0 -q >/dev/null
cmp own.gguf file.gguf && echo "the same bytes from a file"
recast convert model -o bad.gguf --type q4_0 --tensor-type 'attn_(=q8_0' -q
recast convert model -o bad.gguf --type q4_0 --tensor-type attn_v -q
recast convert model -o bad.gguf --type q4_0 --output-type x -q
recast convert model -o bad.gguf --type q4_0 --tensor-type-file none.txt -q
recast convert model -o bad.gguf --type q4_0 --imatrix none.gguf -q
echo "--- a quantized source"
recast convert m-Q8_0.gguf -o again.gguf --type q4_0 -q
recast convert m-Q8_0.gguf -o again.gguf --type q4_0 --requantize 2>/dev/null | sed -E 's/^[0-9a-f]{64} +/SHA256 /'
recast convert m-Q8_0.gguf -o again.gguf --type q8_0 --replace -q | tail -n 1
recast compare m-Q8_0.gguf again.gguf | head -n 1
echo "--- a recipe with limits"
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "q8_0" }, { "format": "gguf", "type": "q4_0" } ]'
echo "In the beginning God created the heaven and the earth. And the earth was without form, and void." >text.txt
limits() { sed -E 's/"tokens": 4/"tokens": 4, '"$1"'/' recipe.json >limits.json; }
# Runs the program; its exit status, what it says of quality, its verdict and its errors.
judged() {
    "$RECAST" "$@" -q >report 2>&1
    echo "exit $?"
    grep -E ' quality |^verdict|^recast' report | sed -E 's/ +/ /g'
}
nothing_left() { ls -d "$1"* ".$1"* 2>/dev/null; }
limits '"max_kl": 1, "min_top1": 0.1'
judged build limits.json -o pkg
judged validate pkg --source model --require quality
judged validate pkg --require quality
judged validate pkg
sed -E 's/"mean_kl": 0/"mean_kl": 1/' pkg/manifest.json >manifest && cp manifest pkg/manifest.json
judged validate pkg --source model
limits '"max_kl": 1e-9'
judged build limits.json -o strict && nothing_left strict
limits '"min_top1": 1, "max_kl": 0.05'
judged build limits.json -o mixed && nothing_left mixed
echo "--- perplexity needs a text"
limits '"max_ppl_ratio": 2'
judged build limits.json -o blind
judged validate blind --source model --require quality
limits '"max_ppl_ratio": 2, "text": "text.txt"'
judged build limits.json -o text
limits '"max_ppl_ratio": 1, "text": "text.txt"'
judged build limits.json -o worse && nothing_left worse
limits '"text": "none.txt"'
judged build limits.json -o missing && nothing_left missing
echo "--- what it costs, tensor by tensor"
recast compare model m-Q4_0.gguf --html page.html 2>&1 | tail -n 2
grep -c '<svg' page.html
grep -o '</svg>\|</table>\|</body>\|</html>' page.html | tr '\n' ' '
grep -cE '<script|<link|(src|href) *=|https?:|url\(|@import' page.html
for tag in svg table thead tbody tr td th text h1 p style head body html; do
    [ "$(grep -o "<$tag[ >]" page.html | wc -l)" = "$(grep -oE "</$tag>" page.html | wc -l)" ] || echo "$tag: unbalanced"
done
recast compare model model --html same.html -q | tail -n 2
grep -c '<svg' same.html
"$RECAST" compare model m-Q4_0.gguf --html no/where/page.html -q >/dev/null
echo "exit $?"
