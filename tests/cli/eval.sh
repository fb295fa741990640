# How well a model predicts a text, alone and beside another; expert counts beside each other.
. "$TOP/tests/cli/common"
model
cat >text.txt <<'END'
In the beginning God created the heaven and the earth. And the earth was without form, and void; and darkness was upon
the face of the deep. And the Spirit of God moved upon the face of the waters. And God said, Let there be light: and
there was light. And God saw the light, that it was good: and God divided the light from the darkness.
END
recast eval model --text text.txt --window 64
recast eval model --text text.txt --window 32 --llama --tokens 100 --json --threads 1 | sed 's/"work": [0-9]*/"work": N/'
"$RECAST" convert model -o x-{type}.gguf --type bf16,q4_0 -q >/dev/null 2>&1
recast eval x-BF16.gguf --text text.txt --window 64 --against model | sed -n '/ratio/,/logit/p'
recast eval x-Q4_0.gguf --text text.txt --window 64 --against x-BF16.gguf
recast eval x-Q4_0.gguf --text text.txt --window 64 --threads 1 --kv f16 | head -n 4
echo "--- a recipe is tried before anything is written"
recipe '{ "num_experts_per_tok": 16 }'
recast eval recipe.json --text text.txt --window 64 --against model | sed -n '/ratio/,/logit/p'
echo "--- a sweep"
recast sweep model --text text.txt --experts 1,8,16 --rope default,yarn:4 --window 64,512 --no-speed --csv s.csv --html s.html
cat s.csv
echo "$(grep -c '<svg' s.html) pictures, $(grep -c '://' s.html) links"
recast sweep model --text text.txt --experts 4 --window 64 --no-speed --tokens 60 --json | sed -n '/"experts"/,/"bytes/p'
recast sweep model --text text.txt --experts 4 --window 64 | sed -E 's/@([0-9]+) +[0-9]+ +[0-9]+$/@\1 RATES/' | head -n 4
recast sweep model --text "$TOP/tests/golden/eval-text.txt" --experts 8 --window 300 --no-speed --tokens 300 2>&1 | grep warning
echo "--- mistakes"
recast eval model
recast eval model --text nothing.txt
recast eval model --text text.txt --window 1
recast eval model --text text.txt --window 512 --llama
recast sweep model --text text.txt --experts 4,129
recast sweep model --text text.txt --experts 4,,8
recast sweep model --text text.txt --rope spiral:2
recast sweep model --text text.txt --rope linear:2x
recast sweep recipe.json --text text.txt
echo "--- hidden numbers"
cat >yarn.json <<'END'
{ "recipe": 1, "name": "yarn", "base": { "path": "model" }, "outputs": [ { "format": "hf" } ], "overrides": { "max_position_embeddings": 1024,
  "rope_scaling": { "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256 } } }
END
recast eval model --passkey 128,256 --depths 0,100 --trials 3
recast eval yarn.json --against model --passkey 256,400 --trials 2 --depths 50 --seed 9
recast eval model --passkey 128 --depths 50 --trials 2 --seed 9 --threads 1 --json | sed 's/"work": [0-9]*/"work": N/'
recast eval model --passkey 128,x
recast eval model --passkey 128 --depths 101
recast eval model --passkey 128 --trials 0
recast eval model --passkey 20 -q
recast eval model --passkey 128 --text text.txt
