# A GGUF that llama.cpp made, of an architecture that Recast does not know and with quantized tensors: what does not compute works.
. "$TOP/tests/cli/common"
cp "$TOP/tests/golden/other-architecture.gguf" a.gguf
recast inspect a.gguf
recast convert a.gguf -o b.gguf -q >/dev/null
recast compare a.gguf b.gguf
recast edit a.gguf -o c.gguf --set qwen3.context_length=256 -q >/dev/null
recast compare a.gguf c.gguf
recast validate b.gguf
recast convert a.gguf -o d.gguf --type f16
recast run a.gguf -p x
left
