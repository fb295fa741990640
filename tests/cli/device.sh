# Who computes, where no CUDA part lies beside the program, or something else under its name.
. "$TOP/tests/cli/common"
model
recipe '{}'
echo "Blessed are the poor in spirit" >text.txt
mkdir alone
host=$RECAST
cp "$RECAST" alone/recast
RECAST=$PWD/alone/recast
speeds() { sed '/tok.s/d'; }

echo "--- no CUDA"
for command in "run model -p x -n 1" "eval model --text text.txt" "eval model --passkey 64" "sweep model --text text.txt" \
    "validate model" "build recipe.json -o out"; do
    recast $command --device cuda
done
left

echo "--- no such device"
for command in "run model -p x -n 1" "eval model --text text.txt" "sweep model --text text.txt" "validate model" "build recipe.json"; do
    recast $command --device gpu
done

echo "--- auto: the processor, silently"
recast run model -p "Blessed are the" -n 8 --device auto 2>&1 | speeds
recast run model -p "Blessed are the" -n 8 2>&1 | speeds
recast eval model --text text.txt -n 4 --device auto >auto.txt
recast eval model --text text.txt -n 4 --device cpu >cpu.txt
cmp auto.txt cpu.txt
recast build recipe.json -o out --device auto -q
recast validate out --device auto | grep generation

echo "--- something else under its name"
printf 'no library' >alone/recast_cuda.so
recast run model -p "Blessed are the" -n 8 --device cuda 2>&1 | sed "s|$PWD|.|g"
recast validate model --device cuda 2>&1 | sed "s|$PWD|.|g"
recast run model -p "Blessed are the" -n 8 2>&1 | speeds
cp "$(ldd "$host" | awk '/libcrypto/ {print $3; exit}')" alone/recast_cuda.so
recast run model -p "Blessed are the" -n 8 --device cuda 2>&1 | sed "s|$PWD|.|g"
