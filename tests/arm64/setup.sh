#!/bin/sh
# setup.sh DIR -- what `make test-neon` needs: a cross compiler and an emulator from the system's package manager, and, under DIR, the
# arm64 files of OpenSSL and cJSON. Those are unpacked and not installed, so the system stays as it is. Debian and what descends from it.
set -e
cd "$(dirname "$0")/../.."
root=$1

sh tests/deps.sh --cross --emulator
[ -e "$root/done" ] && exit 0
command -v apt-get >/dev/null 2>&1 || { echo "setup: needs apt-get, for arm64 builds of OpenSSL and cJSON" >&2; exit 1; }
rm -rf "$root"
mkdir -p "$root/lists/partial" "$root/archives/partial"
root=$(cd "$root" && pwd)
cat >"$root/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
APT::Sandbox::User "$(id -un)";
Dir::State::lists "$root/lists";
Dir::Cache "$root";
Acquire::Languages "none";
END
export APT_CONFIG="$root/apt.conf"
echo "setup: fetching arm64 builds of OpenSSL and cJSON" >&2
apt-get update -qq >&2
(cd "$root" && apt-get download -qq libssl-dev libssl3 libcjson-dev libcjson1 >&2)
for package in "$root"/*.deb; do dpkg -x "$package" "$root"; done
cp -r "$root"/usr/include/aarch64-linux-gnu/. "$root/usr/include" # pkg-config names one folder
rm -rf "$root"/*.deb "$root/lists" "$root/archives"
touch "$root/done"
