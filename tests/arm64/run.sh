#!/bin/sh
# run.sh BUILD ROOT TEST... -- runs unit test programs that were built for arm64 in an emulator. tests/run.sh does it: it finds a script in
# the place of each program.
set -e
cd "$(dirname "$0")/../.."
build=$(cd "$1" && pwd) root=$(cd "$2" && pwd)
shift 2
emulator=$(command -v qemu-aarch64-static || command -v qemu-aarch64)
rm -rf "$build/emulated"
mkdir -p "$build/emulated/tests"

for name in "$@"; do
    script=$build/emulated/tests/test_$name
    cat >"$script" <<END
#!/bin/sh
exec $emulator -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH=$root/usr/lib/aarch64-linux-gnu $build/tests/test_$name "\$@"
END
    chmod +x "$script"
done
ONLY='test_*' TEST_LIMIT=${TEST_LIMIT:-1200} sh tests/run.sh "$build/emulated"
