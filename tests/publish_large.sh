#!/bin/sh
# publish_large.sh BUILD [MB] [KILLS] -- publishes a package with a file of MB megabytes (300) to the tests' own Hub, over a line on
# which requests are refused (429, 503) and connections dropped, and SIGKILLs it KILLS times (3) on the way. In the end every byte must be
# there, and no part but those at hand when a kill came may have been sent twice.
set -eu
build=$(cd "$1" && pwd) megabytes=${2:-300} kills=${3:-3} connections=4
cd "$(dirname "$0")/.."
work=$(mktemp -d "${WORK:-${TMPDIR:-/tmp}}/recast-publish.XXXXXX")
hub="" pid=""
stop() { [ -z "$pid" ] || kill -9 "$pid" 2>/dev/null || true; [ -z "$hub" ] || kill "$hub" 2>/dev/null || true; rm -rf "$work"; }
trap stop EXIT INT TERM

"$build/recast" build recipes/tiny-extreme.json -o "$work/package" --no-generate -q >/dev/null
head -c "$((megabytes * 1000000))" /dev/urandom >"$work/package/hf/big.safetensors"
sum=$(sha256sum <"$work/package/hf/big.safetensors" | cut -c 1-64)
# listed in the manifest, in the order of paths
awk -v entry="      \"path\": \"hf/big.safetensors\", \"size\": $((megabytes * 1000000)), \"sha256\": \"$sum\" }, {" \
    '/^ *"path": "hf\/config.json"/ { print entry } { print }' "$work/package/manifest.json" >"$work/manifest"
mv "$work/manifest" "$work/package/manifest.json"

cd "$work"
"$build/hub_server" state --port-file port --log log --part 4194304 \
    --fault "429:3:PUT:$sum" --fault "503:3:PUT:$sum" --fault "drop:3:PUT:$sum" \
    --fault 503:2:POST:/batch --fault drop:1:POST:/verify --fault lost:1:POST:/complete/ --fault lost:1:POST:/commit/ \
    --fault slow:100000:PUT:/part/ &
hub=$!
while [ ! -s port ]; do sleep 0.1; done
export HF_ENDPOINT=http://127.0.0.1:$(cat port) HF_TOKEN=hf_writer XDG_CACHE_HOME=$work/cache
set -- "$build/recast" publish package --repo me/large --retry-wait 0.05 --connections $connections
arrived() { grep -c '^PUT /part/.* 200' log || true; }

parts=$((megabytes * 1000000 / 4194304))
for i in $(seq "$kills"); do
    "$@" -q &
    pid=$!
    while [ "$(arrived)" -lt $((parts * i / (kills + 1))) ] && kill -0 $pid 2>/dev/null; do sleep 0.02; done
    kill -9 $pid
    wait $pid 2>/dev/null || true
    pid=""
    echo "killed after $(arrived) parts"
done
"$@"
twice=$(grep '^PUT /part/.* 200' log | sed -E 's|/part/[0-9]+/|/|; s| lost$||' | sort | uniq -d | wc -l)
echo "$(arrived) parts arrived, $twice of them twice; $(grep -c dropped log) connections dropped, $(grep -cE ' (429|503) ' log) refusals"
[ "$twice" -le $((kills * connections)) ]
[ "$(grep -c '/commit/main 200' log)" = 1 ]
[ "$(sha256sum <"state/lfs/$sum" | cut -c 1-64)" = "$sum" ]
if grep -q LEAK log; then exit 1; fi
echo "every byte is there"
