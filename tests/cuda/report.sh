#!/bin/sh
# report.sh -- what ptxas says of the kernels, and what PTX must not hold. Of a library that make has built: BUILD/cuda/log is what
# ptxas -v printed, BUILD/cuda/*.ptx what it read.
#
#   report.sh table BUILD    one line a kernel: registers, bytes of stack and of static shared memory, in each architecture
#   report.sh check BUILD    fails if a kernel spills, if the PTX has a float atomic, an approximate function, a flush to zero, a contraction
#                            that was not written out or a float matrix product, or reads no 16 bytes at a time, or if the table differs
#                            from tests/cuda/report.txt; 77 if all is well but that table is of another release of nvcc
#   report.sh pin BUILD      writes tests/cuda/report.txt anew: read the difference before you commit it
#   report.sh kernels BUILD  the kernels that the sources instantiate, from the build for the processor (BUILD/recast_cuda_host.so)
set -eu
top=$(cd "$(dirname "$0")/../.." && pwd)
pinned=$top/tests/cuda/report.txt
command=${1:?usage: report.sh table|check|pin|kernels BUILD} build=${2:?usage: report.sh table|check|pin|kernels BUILD}
export LC_ALL=C

# Log and table agree on names: no result type, no arguments, no blanks. A field is REGISTERS:STACK:SHARED, and :SPILLED where there is any.
table() {
    # shellcheck disable=SC2002
    cat "$build/cuda/release"
    c++filt <"$build/cuda/log" | awk '
        function fail(what) { print "report.sh: cannot read what ptxas printed: " what >"/dev/stderr"; failed = 1; exit 1 }
        /Compiling entry function/ {
            if (kernel != "") fail("two kernels at once")
            arch = kernel = $0
            sub(/.* for ./, "", arch); sub(/\047.*/, "", arch)
            sub(/.*entry function \047/, "", kernel); sub(/^void /, "", kernel); sub(/\(.*/, "", kernel); gsub(/ /, "", kernel)
            archs[arch] = 1
        }
        /bytes stack frame/ && kernel != "" { stack = $1; spilled = $5 + $9 }
        /Used [0-9]+ registers/ {
            if (kernel == "") fail("registers of no kernel")
            shared = 0
            for (i = 3; i <= NF; i++) { if ($i ~ /^registers/) registers = $(i - 1); if ($i ~ /^smem/) shared = $(i - 2) }
            rows[kernel] = 1
            field[kernel, arch] = registers ":" stack ":" shared (spilled ? ":SPILLED" : "")
            kernel = ""
        }
        function line(first, row, i, text) {
            text = sprintf("%-20s", first)
            for (i = 1; i <= columns; i++) text = text sprintf(" %10s", row == "" ? name[i] : field[row, name[i]])
            return text
        }
        END {
            if (failed) exit 1
            for (a in archs) { # in order: nvcc compiles for several at a time
                for (i = ++columns; i > 1 && substr(name[i - 1], 4) + 0 > substr(a, 4) + 0; i--) name[i] = name[i - 1]
                name[i] = a
            }
            if (!columns) fail("nothing")
            print line("kernel", "")
            for (k in rows) print line(k, k) | "sort"
        }'
}

# Only the columns that both have: a library may be built for some architectures only.
columns() { # FILE ARCHITECTURES
    awk -v wanted="$2" 'BEGIN { split(wanted, w, " "); for (i in w) keep[w[i]] = 1 }
        NR == 1 { print; next }
        NR == 2 { for (i = 2; i <= NF; i++) if ($i in keep) use[i] = 1 }
        { text = sprintf("%-20s", $1); for (i = 2; i <= NF; i++) if (i in use) text = text sprintf(" %10s", $i); print text }' "$1"
}

check() {
    work=$(mktemp -d "${TMPDIR:-/tmp}/recast-cuda.XXXXXX")
    trap 'rm -rf "$work"' EXIT INT TERM
    bad=0
    table >"$work/table"
    if grep SPILLED "$work/table"; then
        echo "cuda-report: these kernels spill"
        bad=1
    fi
    for ptx in "$build"/cuda/*.ptx; do
        if grep -HnE '(atom|red)\.[a-z.]*\.(bf|f)(16|32|64)|\.approx|\.ftz|mad\.rn\.f32|ex2\.|lg2\.|rsqrt|sin\.|cos\.|tanh|mma\.[a-z0-9_.:]*\.(f16|bf16|tf32|f32|f64|e4m3|e5m2)' "$ptx"; then
            echo "cuda-report: $ptx has what strict arithmetic forbids"
            bad=1
        fi
        if ! grep -qE 'ld\.global\.nc\.(L[a-zA-Z0-9:.]*)?v4\.' "$ptx"; then
            echo "cuda-report: $ptx reads no 16 bytes at a time"
            bad=1
        fi
    done
    if [ "$(head -n 1 "$pinned")" != "$(head -n 1 "$work/table")" ]; then
        [ $bad = 0 ] || exit 1
        echo "nothing spills and the PTX is as it should be; registers are pinned for $(head -n 1 "$pinned" | sed 's/:.*//')," \
            "this is $(head -n 1 "$work/table" | sed 's/:.*//')"
        exit 77
    fi
    columns "$pinned" "$(sed -n 2p "$work/table")" >"$work/pinned"
    columns "$work/table" "$(sed -n 2p "$pinned")" >"$work/here"
    diff -u "$work/pinned" "$work/here" || bad=1
    exit $bad
}

case $command in
table) table ;;
check) check ;;
pin)
    table >"$build/cuda/table"
    cp "$build/cuda/table" "$pinned"
    ;;
kernels)
    names=$(cat "$top"/runner/cuda/*.cuh "$top"/runner/cuda/*.cu | tr '\n' ' ' | grep -oE '__global__[^{;]*' |
        sed -E 's/__launch_bounds__\([^()]*\)//; s/.*[^a-z0-9_]([a-z0-9_]+) *\([^()]*\) *$/\1/' | sort -u | tr '\n' '|')
    nm -C "$build/recast_cuda_host.so" | grep -oE "^[0-9a-f]+ [tTwW] (void )?(${names%|})(<[^()]*>)?\([^()]*\)$" |
        sed -E 's/^[0-9a-f]+ [tTwW] (void )?//; s/\(.*//; s/ //g' | sort -u
    ;;
*)
    echo "report.sh: no such command: $command" >&2
    exit 2
    ;;
esac
