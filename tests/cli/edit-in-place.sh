# Edits in the file itself: what is changed, what is refused, and what a cut-short edit leaves behind.
. "$TOP/tests/cli/common"
model
"$RECAST" convert model -o a.gguf -q >/dev/null
cp a.gguf b.gguf
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=16 --set qwen3moe.rope.freq_base=5e6
recast compare a.gguf b.gguf
cp b.gguf edited.gguf
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=16
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=12 --json
cp edited.gguf b.gguf

echo "== refused"
recast edit b.gguf --set qwen3moe.expert_used_count=12
recast edit b.gguf --in-place -o c.gguf --set qwen3moe.expert_used_count=12
recast edit b.gguf --in-place
recast edit b.gguf --in-place --no-hash --set qwen3moe.expert_used_count=12
recast edit b.gguf --in-place --unset tokenizer.ggml.pre
recast edit b.gguf --in-place --set general.author=str:me
recast edit b.gguf --in-place --set general.architecture=str:other
recast edit b.gguf --in-place --set tokenizer.ggml.pre=longer-than-it-was
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=1000
ln -s b.gguf link.gguf
recast edit link.gguf --in-place --set qwen3moe.expert_used_count=12
rm link.gguf
ln b.gguf link.gguf
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=12
rm link.gguf
chmod a-w b.gguf
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=12
chmod u+w b.gguf
cmp edited.gguf b.gguf && echo "nothing was changed"

echo "== a split model"
"$RECAST" convert a.gguf -o s.gguf --split metadata-first -q >/dev/null
recast edit s-00001-of-00002.gguf --in-place --set qwen3moe.expert_used_count=16
recast edit s-00002-of-00002.gguf --in-place --set qwen3moe.expert_used_count=int:16
recast compare a.gguf s-00001-of-00002.gguf
rm s-*

echo "== cut short"
# number BYTES: little-endian
number() {
    n=$1 i=0
    while [ $i -lt "$2" ]; do
        printf "\\$(printf %03o $((n % 256)))"
        n=$((n / 256)) i=$((i + 1))
    done
}
# A record that says: the u32 of expert_used_count was 16 and was to become 12.
interrupt() {
    at=$(grep -abo qwen3moe.expert_used_count b.gguf | head -n 1 | cut -d: -f1)
    at=$((at + 26 + 4))
    {
        printf 'RECAST UNDO 1\r\n\032'
        number "$(ls -i b.gguf | awk '{print $1}')" 8
        number "$(wc -c <b.gguf)" 8
        number 1 8
        number $at 8
        number 4 4
        number 16 4
        number 12 4
    } >record
    { cat record && sha256sum record | cut -c1-64 | tr -d '\n'; } >.b.gguf.recast-undo
    rm record
    patch b.gguf $at '\014'
}
interrupt
"$RECAST" inspect b.gguf | grep expert_used
"$RECAST" validate b.gguf | grep verdict
"$RECAST" inspect b.gguf -q | grep expert_used
recast edit b.gguf --in-place
cmp edited.gguf b.gguf && echo "as it was"
interrupt
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=10
interrupt
recast edit b.gguf --in-place --json
cmp edited.gguf b.gguf && echo "as it was"
recast edit b.gguf --in-place
echo "no record" >.b.gguf.recast-undo
recast edit b.gguf --in-place --set qwen3moe.expert_used_count=12
"$RECAST" inspect b.gguf | grep expert_used
cmp edited.gguf b.gguf && echo "nothing was changed"
left
