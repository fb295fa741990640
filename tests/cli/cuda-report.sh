# The CUDA part as nvcc made it, where there is nvcc: registers and shared memory of each kernel as pinned, no spills, nothing in the PTX
# that strict arithmetic forbids; it leans on no library of CUDA, exports what it must, and without a device it says so.
build=$(dirname "$RECAST")
if [ ! -f "$build/recast_cuda.so" ] || [ ! -f "$build/cuda/log" ]; then
    echo "the CUDA part was not built: no nvcc 12.8 or later, or CUDA=0"
    exit 77
fi

echo "--- kernels"
sh "$TOP/tests/cuda/report.sh" check "$build" >report
status=$?
[ $status = 77 ] || cat report

echo "--- needs"
readelf -d "$build/recast_cuda.so" | grep -E 'NEEDED.*(cu|nv)'
readelf --dyn-syms -W "$build/recast_cuda.so" | awk '$7 != "UND" && $5 == "GLOBAL" && $8 ~ /recast/ { print $8 }'

echo "--- without a device"
CUDA_VISIBLE_DEVICES=-1 "$RECAST" run "$TOP/tests/data/tiny-qwen3moe" -p x -n 1 --device cuda 2>&1 | sed 's/no CUDA.*/no CUDA/'
CUDA_VISIBLE_DEVICES=-1 "$RECAST" run "$TOP/tests/data/tiny-qwen3moe" -p x -n 1 --device cuda >/dev/null 2>&1
echo "exit $?"

if [ $status = 77 ]; then
    cat report
    exit 77
fi
