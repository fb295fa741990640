#!/bin/sh
# Installs what the build and the tests need and this machine lacks, through the system's package manager.
# Quiet, and without the network, when everything is there.
set -e

lacks=""
need() { command -v "$1" >/dev/null 2>&1 || lacks="$lacks $2"; }
need_lib() { pkg-config --exists "$1" 2>/dev/null || lacks="$lacks $2"; }

need "${CC:-cc}" gcc
need pkg-config pkg-config
[ -e /usr/include/stdio.h ] || [ "$(uname -s)" != Linux ] || lacks="$lacks libc6-dev"
need_lib libcrypto libssl-dev
need_lib libcjson libcjson-dev
need_lib criterion libcriterion-dev
[ -z "$lacks" ] && exit 0

if ! command -v apt-get >/dev/null 2>&1; then
    echo "deps: missing:$lacks (Debian's names). Install them with this system's package manager." >&2
    exit 1
fi
sudo=""
if [ "$(id -u)" != 0 ]; then
    command -v sudo >/dev/null 2>&1 || { echo "deps: missing:$lacks. Run as root or install sudo." >&2; exit 1; }
    sudo=sudo
fi
echo "deps: installing$lacks" >&2
$sudo apt-get update -qq >&2
$sudo env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $lacks >&2
