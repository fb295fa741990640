# Start scripts for other engines: what they say fits, and that they are well formed.
. "$TOP/tests/cli/common"
model
recipe '{ "num_experts_per_tok": 16, "max_position_embeddings": 8192,
    "rope_scaling": { "rope_type": "yarn", "factor": 32.0, "original_max_position_embeddings": 256 } }' '[ { "format": "gguf", "type": "bf16" }, { "format": "gguf", "type": "f32" }, { "format": "hf" } ]'
"$RECAST" build recipe.json -o package --no-generate -q >/dev/null
launch() { echo "-- $*"; recast launch "$@" 2>&1; }
launch package --engine llama.cpp
for engine in text-generation-webui vllm sglang transformers ollama; do launch package --engine $engine --vram 1.003G -o $engine -q; done
cat text-generation-webui vllm sglang transformers ollama
# memory: everything, a smaller cache, experts elsewhere, layers elsewhere
gguf=package/test-BF16.gguf
value() { "$RECAST" launch $gguf --engine llama.cpp --json | sed -n "s/^  \"$1\": \([0-9]*\),/\1/p"; }
fixed=$(($(value weights) + $(value compute) + $(value driver)))
kv=$(($(value kv_f16_a_position) * 8192))
for mib in $(((fixed + kv) / 1048576 + 1)) $(((fixed + kv) / 1048576)) $((fixed / 1048576)) $((fixed / 1048576 - 2)) 1; do
    launch $gguf --engine llama.cpp --vram ${mib}M --replace -o out.sh | tail -n 4
    grep -o 'set -- -m.*-ctv [^ ]*' out.sh
done
launch package --engine llama.cpp --vram 24G --json | sed '/"script"/d'
launch $gguf --engine ollama --gpu "nvidia geforce rtx-4090" --context 100 | grep -E "RTX|num_ctx"
launch $gguf --engine llama.cpp --gpu "RTX 6000 Adda"
launch $gguf --engine llama.cpp --context 10000
launch $gguf --engine vllm
launch model --engine llama.cpp
launch $gguf --engine exllama
launch $gguf --engine llama.cpp --vram lots
launch $gguf --engine llama.cpp --vram 24G --gpu L4
echo '{ "gpus": [ { "name": "Mine", "gib": 5 } ] }' >table.json
launch $gguf --engine ollama --gpu mine --gpu-table table.json | grep Mine
# a name that a shell or Python could stumble over
mkdir "it's \"\$(touch owned)\" \\"
cp $gguf "it's \"\$(touch owned)\" \\/m.gguf"
cp -R package/hf "it's \"\$(touch owned)\" \\/hf"
launch "it's \"\$(touch owned)\" \\/m.gguf" --engine llama.cpp -o odd.sh -q
printf '#!/bin/sh\nprintf "%%s\\n" "$@"\n' >print
chmod +x print
LLAMA_SERVER=./print sh odd.sh --extra 1 | tr '\n' ' '
echo
LLAMA_CLI=./print ./odd.sh run two words | tr '\n' ' '
echo
launch "it's \"\$(touch owned)\" \\/hf" --engine transformers -o odd.py -q
grep MODEL odd.py
[ ! -e owned ] && echo "nothing was run"
for engine in llama.cpp text-generation-webui vllm sglang; do
    "$RECAST" launch package --engine $engine --vram 1M -o $engine.sh -q
    sh -n $engine.sh
done
# where they are installed
if command -v shellcheck >/dev/null; then shellcheck -e SC2016 ./*.sh || echo "shellcheck complains"; fi
if command -v python3 >/dev/null; then python3 -m py_compile transformers odd.py && rm -r __pycache__ || echo "python complains"; fi
# into Ollama's store, without a copy; nobody listens at that port
OLLAMA_HOST=127.0.0.1:1
export OLLAMA_HOST OLLAMA_MODELS=store
launch $gguf --engine ollama --import mine
mkdir store
launch $gguf --engine ollama --import mine | sed -E 's/[0-9a-f]{64}/HASH/'
launch $gguf --engine ollama --import mine | sed -E 's/[0-9a-f]{64}/HASH/'
blob=store/blobs/sha256-$(sha256sum <$gguf | cut -c 1-64)
[ "$blob" -ef $gguf ] && echo "one file under two names"
rm "$blob"
ln -s $gguf link.gguf
launch link.gguf --engine ollama --import mine | sed -E 's/[0-9a-f]{64}/HASH/'
[ -f "$blob" ] && [ ! -L "$blob" ] && echo "a link is followed"
rm "$blob" link.gguf
echo >"$blob"
launch $gguf --engine ollama --import mine | sed -E 's/[0-9a-f]{64}/HASH/'
launch $gguf --engine llama.cpp --import mine
