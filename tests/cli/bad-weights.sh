# Broken checkpoints: each has its own message, exit 3, and leaves nothing behind.
. "$TOP/tests/cli/common"
shard=model/model-00001-of-00002.safetensors
attempt() {
    echo "== $1"
    recast convert model -o out.gguf -q
    left
}
model; truncate -s 1000000 $shard; attempt "truncated shard"
model; truncate -s 5 $shard; attempt "shard without a header"
model; rm $shard; attempt "missing shard"
model; sed -i 's/model-00001-of-00002/model-00009-of-00002/' model/model.safetensors.index.json; attempt "index names another shard"
model; sed -i 's|model-00001-of-00002|../model-00001-of-00002|' model/model.safetensors.index.json; attempt "index leaves the directory"
model; sed -i 's/"model.norm.weight"/"model.norm.wieght"/' model/model.safetensors.index.json; attempt "index names a tensor that no shard has"
model; patch $shard 0 '\377\377\377\377\377\377\377\177'; attempt "huge header length"
model; patch $shard 8 'x'; attempt "header is not JSON"
model; sed -i 's/"dtype":"BF16"/"dtype":"XF16"/' $shard; attempt "unknown dtype"
model; sed -i 's/"data_offsets":\[0,/"data_offsets":[2,/' $shard; attempt "hole before the first tensor"
model; echo '{' >model/config.json; attempt "config.json is not JSON"
model; rm model/config.json; attempt "no config.json"
model; rm model/tokenizer.json; attempt "no tokenizer"
model; sed -i 's/Qwen3MoeForCausalLM/LlamaForCausalLM/' model/config.json; attempt "unknown architecture"
model; sed -i 's/"num_experts": 128/"num_experts": 127/' model/config.json; attempt "wrong number of experts"
model; sed -i 's/"hidden_size": 64/"hidden_size": 96/' model/config.json; attempt "wrong shape"
model; sed -i 's/"norm_topk_prob": true/"norm_topk_prob": false/' model/config.json; attempt "router weights that GGUF can't say"
