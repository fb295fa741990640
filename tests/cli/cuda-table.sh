# The pinned registers of the CUDA kernels, as far as they can be checked without nvcc: all kernels that the sources instantiate and no
# others, in all six architectures, and none spills. tests/cli/cuda-report.sh compares them with what nvcc makes.
table=$TOP/tests/cuda/report.txt

echo "--- kernels that the table lacks (+) or has too many (-)"
sed '1,2d; s/ .*//' "$table" >pinned
sh "$TOP/tests/cuda/report.sh" kernels "$(dirname "$RECAST")" >kernels
[ "$(wc -l <kernels)" -gt 20 ] || echo "only $(wc -l <kernels) kernels found"
diff -u pinned kernels | grep '^[-+][a-z]'

echo "--- architectures"
sed -n '2s/  */ /gp' "$table"

echo "--- spills, or no figures"
sed 1,2d "$table" | grep -vE '^[^ ]+( +[0-9]+:[0-9]+:[0-9]+){6}$'

echo "--- what make builds by default"
default() { # RELEASE OPTIONS
    printf '#!/bin/sh\necho "Cuda compilation tools, release x, V%s"\n' "$1" >nvcc
    chmod +x nvcc
    shift
    env -u MAKEFLAGS -u CUDA make -n -C "$TOP" BUILD="$PWD/build" NVCC="$PWD/nvcc" "$@" all | grep -qF "$PWD/nvcc " && echo "with CUDA" || echo "without"
}
default 13.0.88
default 12.8.93
default 12.7.99
default 13.0.88 CUDA=0
