# Metadata edits on a GGUF, of a known architecture and of one that Recast does not know.
. "$TOP/tests/cli/common"
model
"$RECAST" convert model -o a.gguf -q >/dev/null
recast edit a.gguf -o b.gguf --set qwen3moe.expert_used_count=16 --set general.author=str:somebody -q >/dev/null
recast compare a.gguf b.gguf
recast edit a.gguf -o c.gguf
recast edit a.gguf -o c.gguf --set qwen3moe.expert_used_cuont=16
recast edit a.gguf -o c.gguf --set qwen3moe.expert_used_count=many
recast edit a.gguf -o c.gguf --unset nothing.here
recast edit a.gguf -o c.gguf --set general.architecture=str:llama
recast validate b.gguf | grep -iE 'edit|provenance|verdict'
# a file of an unknown architecture: one F32 tensor "w" of 8 elements
printf 'GGUF\003\0\0\0\001\0\0\0\0\0\0\0\001\0\0\0\0\0\0\0\024\0\0\0\0\0\0\0general.architecture\010\0\0\0\005\0\0\0\0\0\0\0other\001\0\0\0\0\0\0\0w\001\0\0\0\010\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >other.gguf
truncate -s 160 other.gguf
recast inspect other.gguf
recast edit other.gguf -o other2.gguf --set other.context_length=u32:64 -q >/dev/null
recast compare other.gguf other2.gguf
recast run other.gguf -p x
# without hashes: the same bytes, of either
recast edit a.gguf -o c.gguf --set qwen3moe.expert_used_count=16 --set general.author=str:somebody --no-hash
cmp b.gguf c.gguf && echo "the same bytes"
recast edit a.gguf -o c.gguf --replace --set qwen3moe.expert_used_count=12 --no-hash --json
# a header that moved is padded; that says nothing of where a file comes from (1 MiB of data)
{ head -c 82 other.gguf && printf '\0\0\004\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0'; } >large.gguf
truncate -s 1048704 large.gguf
recast edit large.gguf -o large2.gguf --set general.name=str:name -q >/dev/null
recast inspect large2.gguf
recast compare large.gguf large2.gguf
recast validate large2.gguf | grep -iE 'provenance|verdict'
recast edit large2.gguf -o large3.gguf --unset recast.pad
recast edit large2.gguf -o large3.gguf --unset general.name -q >/dev/null
cmp large.gguf large3.gguf && echo "back again"
left
