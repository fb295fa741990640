# Every command that runs models on a device: the CUDA runner that runs its kernels on the processor lies beside a copy of
# the program. What is printed and written must be what the processor gives.
. "$TOP/tests/cli/common"
library=$(dirname "$RECAST")/recast_cuda_host.so
if ! [ -e "$library" ]; then
    echo "there is no $(basename "$library"): \`make unit-tests\` builds it where there is a C++ compiler"
    exit 77
fi
model
recipe '{ "num_experts_per_tok": 4 }' '[ { "format": "gguf", "type": "q8_0" } ]'
echo "Blessed are the poor in spirit" >text.txt
mkdir beside
cp "$RECAST" beside/recast
cp "$library" beside/recast_cuda.so
RECAST=$PWD/beside/recast
speeds() { sed '/tok.s/d'; }

# same COMMAND...: on the device and on the processor; prints what differs, and what the device says on stderr.
same() {
    echo "recast $*"
    for device in cuda cpu; do
        "$RECAST" "$@" --device $device >$device.out 2>$device.err || echo "exit $?"
    done
    cmp cuda.out cpu.out
    grep -v "^device" cuda.err | diff cpu.err - && grep "^device" cuda.err
}

echo "--- run"
recast run model -p "Blessed are the" -n 8 2>&1 | speeds
recast run model -p "Blessed are the" -n 8 --device cpu 2>&1 | speeds
for device in cpu cuda; do
    "$RECAST" run model -p "And the LORD said unto Moses," -n 12 --kv f32 --json -q --device $device |
        grep -E '"(text|tokens_sha256|logits_sha256)"'
done
echo hello | recast run model --chat --raw -n 2 --device cuda

echo "--- the others"
same eval model --text text.txt --against model --kv f16
same eval model --passkey 110 --depths 0 --trials 1
for device in cuda cpu; do
    "$RECAST" sweep model --text text.txt --experts 4 --window 8 --no-speed --csv $device.csv --picture $device.svg -v \
        --device $device >$device.out 2>$device.err
done
cmp cuda.out cpu.out && cmp cuda.csv cpu.csv && cmp cuda.svg cpu.svg
mv cuda.err sweep.err
recast build recipe.json -o gpu 2>&1 >/dev/null | grep device
recast build recipe.json -o cpu --device cpu -q
diff -r gpu cpu
same validate gpu --source model

echo "--- a record that is wrong: the same report"
sed -i 's/\("logits_sha256": "\)../\100/' gpu/manifest.json
same validate gpu
grep generation cuda.out

echo "--- memory"
"$RECAST" run model -p x -n 1 -v 2>run.err >/dev/null
grep memory run.err | sed 's/[0-9.]* [kMG]B/N/g'
echo "the settings of a sweep have one copy of the weights, which they use where the file lies:"
for part in "host fibers (cuda)" "the host"; do
    for command in run sweep; do
        sed -n "s/^memory of $part: \(weights [^,;]*\)[,;].*/\1/p" $command.err
    done | sort | uniq -c | sed 's/^ *//; s/[0-9.]* MB/N/'
done
"$RECAST" run model -p x -n 1 --json -q | sed -n '/"memory"/,/^  }/p' | sed 's/[0-9]\{4,\}/N/g'
"$RECAST" eval model --text text.txt -n 4 -q --json | grep -A1 '"device"'
"$RECAST" eval model --text text.txt -n 4 -q --json --device cpu | grep -A1 '"device"'

echo "--- too large for it"
recast run model -p x -n 60000000 --device cuda -q 2>&1 | sed 's/[0-9]\{5,\}/N/g'
recast run model -p x -n 60000000 --device cuda --kv f32 -q 2>&1 | sed 's/[0-9]\{5,\}/N/g'
recast sweep model --text text.txt --experts 1,2,3,4,5 --window 1048576 --device cuda -q 2>&1 | sed 's/[0-9]\{5,\}/N/g'
echo | "$RECAST" run model --chat --raw --context 6000000 --kv f32 2>&1 | grep ^device | sed 's/[0-9]\{5,\}/N/g'
