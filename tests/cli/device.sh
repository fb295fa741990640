# Who computes. The program is copied to where no CUDA part lies beside it, and then to where one does: that which runs
# the kernels on the processor.
. "$TOP/tests/cli/common"
model
mkdir alone beside
cp "$RECAST" alone/recast
cp "$RECAST" beside/recast
cp "$(dirname "$RECAST")/recast_cuda_host.so" beside/recast_cuda.so
host=$RECAST
speeds() { sed '/tok.s/d'; }

echo "--- no CUDA"
RECAST=$PWD/alone/recast
recast run model -p "Blessed are the" -n 8 --device cuda
recast run model -p "Blessed are the" -n 8 --device auto 2>&1 | speeds
recast run model -p "Blessed are the" -n 8 --device gpu

echo "--- CUDA on the processor: the same text, the same hashes"
RECAST=$PWD/beside/recast
recast run model -p "Blessed are the" -n 8 2>&1 | speeds
recast run model -p "Blessed are the" -n 8 --device cpu 2>&1 | speeds
for device in cpu cuda; do
    "$RECAST" run model -p "And the LORD said unto Moses," -n 12 --kv f32 --json -q --device $device |
        grep -E '"(text|tokens_sha256|logits_sha256)"'
done

echo "--- too large for it"
recast run model -p x -n 60000000 --device cuda -q 2>&1 | sed 's/[0-9]\{5,\}/N/g'
recast run model -p x -n 60000000 --device cuda --kv f32 -q 2>&1 | sed 's/[0-9]\{5,\}/N/g'

echo "--- something else under its name"
printf 'no library' >beside/recast_cuda.so
recast run model -p "Blessed are the" -n 8 --device cuda 2>&1 | sed "s|$PWD|.|g"
cp "$(ldd "$host" | awk '/libcrypto/ {print $3; exit}')" beside/recast_cuda.so
recast run model -p "Blessed are the" -n 8 --device cuda 2>&1 | sed "s|$PWD|.|g"
