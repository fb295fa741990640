#!/bin/sh
# Installs what the build and the tests need and this machine lacks, through the system's package manager.
# Quiet, and without the network, when everything is there.
#
#   --cross      also, where it can be had without questions, a compiler for 64-bit Arm
#   --emulator   also an emulator that runs its programs
set -e

lacks="" wants=""
need() { command -v "$1" >/dev/null 2>&1 || lacks="$lacks $2"; }
want() { command -v "$1" >/dev/null 2>&1 || wants="$wants $2"; }
need_lib() { pkg-config --exists "$1" 2>/dev/null || lacks="$lacks $2"; }

need "${CC:-cc}" gcc
need c++ g++
need pkg-config pkg-config
need openssl openssl
[ -e /usr/include/stdio.h ] || [ "$(uname -s)" != Linux ] || lacks="$lacks libc6-dev"
need_lib libcrypto libssl-dev
need_lib libcjson libcjson-dev
need_lib libzip libzip-dev
need_lib libzstd libzstd-dev
need_lib libcurl libcurl4-openssl-dev
need_lib criterion libcriterion-dev
for option; do
    case "$option" in
    --cross) want aarch64-linux-gnu-gcc "gcc-aarch64-linux-gnu libc6-dev-arm64-cross" ;;
    --emulator) command -v qemu-aarch64 >/dev/null 2>&1 || need qemu-aarch64-static qemu-user-static ;;
    esac
done
if ! command -v apt-get >/dev/null 2>&1 || { [ "$(id -u)" != 0 ] && ! sudo -n true 2>/dev/null; }; then wants=""; fi
[ -z "$lacks$wants" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "deps: missing:$lacks (Debian's names). Install them with this system's package manager." >&2
    exit 1
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "deps: missing:$lacks. Run as root or install sudo." >&2; exit 1; }
    sudo=sudo
fi
install() { $sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$@" >&2; }
echo "deps: installing$lacks$wants" >&2
$sudo apt-get update -qq >&2
[ -z "$lacks" ] || install $lacks
[ -z "$wants" ] || install $wants || echo "deps: going on without$wants" >&2
