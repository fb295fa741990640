#!/bin/sh
# report.sh NVCC FLAGS ARCH... -- registers, shared memory, stack and spills of every kernel, from ptxas; and what PTX must not hold.
#
# Fails if a kernel spills, if the PTX has a float atomic, an approximate function or a contraction that was not written out, if weights are
# not read 16 bytes at a time, or if the table for sm_90 differs from tests/cuda/report.txt (made with the release that its first line names;
# UPDATE=1 writes it anew: read the difference before you commit it).
set -eu
nvcc=$1 flags=$2
shift 2
cd "$(dirname "$0")/../.."
if [ -z "$nvcc" ]; then
    echo "cuda-report: not run: no nvcc"
    exit 0
fi
work=$(mktemp -d "${TMPDIR:-/tmp}/recast-cuda.XXXXXX")
trap 'rm -rf "$work"' EXIT INT TERM
release=$("$nvcc" --version | sed -n 's/.*release \([0-9.]*\),.*/\1/p')
bad=0

# ptxas -v, one line a kernel: name, registers, stack, spill stores, spill loads, static shared memory
table() {
    c++filt | awk '
        /Compiling entry function/ { sub(/.*entry function .void /, ""); sub(/.*entry function ./, ""); sub(/\(.*/, ""); name = $0 }
        /bytes stack frame/ { stack = $1; stores = $5; loads = $9 }
        /Used [0-9]+ registers/ {
            shared = 0
            for (i = 1; i < NF; i++) { if ($i == "Used") registers = $(i + 1); if ($(i + 1) == "bytes" && $(i + 2) == "smem,") shared = $i }
            printf "%-18s %3d registers, %3d stack, %d + %d spilled, %d shared\n", name, registers, stack, stores, loads, shared
        }' | LC_ALL=C sort
}

for arch; do
    # shellcheck disable=SC2086
    "$nvcc" $flags -arch="sm_$arch" -Xptxas -v -cubin -o "$work/$arch.cubin" runner/cuda/runner.cu 2>"$work/log" || {
        cat "$work/log"
        exit 1
    }
    { echo "sm_$arch, nvcc $release"; table <"$work/log"; } | tee "$work/$arch.txt"
    if grep -vE ' 0 \+ 0 spilled|^sm_' "$work/$arch.txt"; then
        echo "cuda-report: sm_$arch: these kernels spill"
        bad=1
    fi
done

# shellcheck disable=SC2086
"$nvcc" $flags -arch=compute_90 -ptx -o "$work/ptx" runner/cuda/runner.cu
if grep -nE '(atom|red)\.[a-z.]*\.f(16|32|64)|\.approx|\.ftz|mad\.rn\.f32|ex2\.|lg2\.|rsqrt|sin\.|cos\.|tanh' "$work/ptx"; then
    echo "cuda-report: the PTX has what strict arithmetic forbids"
    bad=1
fi
if ! grep -qE 'ld\.global\.nc\.v4\.' "$work/ptx"; then
    echo "cuda-report: the PTX reads no 16 bytes at a time"
    bad=1
fi

if [ -f "$work/90.txt" ]; then
    [ -z "${UPDATE:-}" ] || cp "$work/90.txt" tests/cuda/report.txt
    if [ "$(head -n 1 tests/cuda/report.txt)" != "sm_90, nvcc $release" ]; then
        echo "cuda-report: tests/cuda/report.txt is of another release: not compared"
    elif ! diff -u tests/cuda/report.txt "$work/90.txt"; then
        bad=1
    fi
fi
exit $bad
