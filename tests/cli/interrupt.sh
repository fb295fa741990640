# Ctrl-C in the middle of writing: exit 130, nothing half-written stays, an older file of the name is untouched.
. "$TOP/tests/cli/common"
# one F32 tensor of 2^29 elements: 2 GiB, sparse
printf 'GGUF\003\0\0\0\001\0\0\0\0\0\0\0\001\0\0\0\0\0\0\0\024\0\0\0\0\0\0\0general.architecture\010\0\0\0\005\0\0\0\0\0\0\0other\001\0\0\0\0\0\0\0w\001\0\0\0\0\0\0\040\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0' >big.gguf
truncate -s $((128 + 2147483648)) big.gguf
echo old >out.gguf
timeout --preserve-status -s INT 0.3 "$RECAST" edit big.gguf -o out.gguf --replace --set other.x=u32:1
echo "exit $?"
cat out.gguf
ls -A
