# publish against a Hub on this machine that checks every byte: what is refused, what is sent, and what goes wrong on the way.
. "$TOP/tests/cli/common"
. "$TOP/tests/cli/hub_common"
model
recipe '{ "num_experts_per_tok": 16 }' '[ { "format": "gguf", "type": "bf16" }, { "format": "hf" } ]'
"$RECAST" build recipe.json -o package --no-generate -q >/dev/null
# how many files stand around the weights is not this test's matter
publish() { on_hub publish package --repo me/test --retry-wait 0.01 "$@" | sed -E 's/[0-9]+ files, [0-9.]+ MB/N files, SIZE/; s/: [0-9]+ files on/: N files on/'; }
count() { grep -c "$1" log; } # requests
parts_twice() { grep '^PUT /part/.* 200 ' log | sed -E 's|/part/[0-9]+/|/|' | sort | uniq -d | wc -l; }
fresh() { # OPTIONS: a new Hub, nothing remembered
    done_hub
    rm -rf state cache
    hub --part 262144 "$@"
}

echo "== who may"
fresh
publish
HF_TOKEN=hf_wrong publish
HF_TOKEN=hf_reader publish
HF_TOKEN="hf two" publish
HF_TOKEN=hf_writer on_hub publish package --repo other/test
HF_TOKEN=hf_writer on_hub publish package --repo test
HF_TOKEN=hf_writer on_hub publish package
HF_TOKEN=hf_writer on_hub publish model --repo me/test
HF_HUB_OFFLINE=1 HF_TOKEN=hf_writer publish
echo "== an address with a password in it is not shown, also not as one that is wrong"
for url in http://me:geheim@127.0.0.1:1 http://geheim@127.0.0.1:1/x ftp://me:geheim@127.0.0.1 'http://127.0.0.1:1/?token=geheim'; do
    for more in "" --json "--dry-run -v" "--progress json"; do
        HF_ENDPOINT=$url HF_TOKEN=hf_writer on_hub publish package --repo me/test $more
    done
done | sort | uniq -c | sed 's/^ *//'
mkdir home && printf 'hf_writer\n' >home/token
echo "== a dry run"
publish --dry-run | tail -n 3
HF_HOME=home publish --dry-run | tail -n 2
find state cache -type f 2>/dev/null

echo "== all of it"
HF_TOKEN=hf_writer
publish --private | grep -vE '^sent +[0-9.]+ k?B'
publish | tail -n 3
publish --dry-run --json >dry.json
[ "$(grep -c '"same"' dry.json)" = "$(find package -type f | wc -l)" ] && echo "all is there"
count LEAK
find cache -type f
(cd state/lfs && for f in *; do [ "$(sha256sum <"$f")" = "$f  -" ] || echo "$f is wrong"; done)
publish --create-pr -m "by hand" | tail -n 3
publish --revision 128k/long | tail -n 3
echo note >package/README.extra
publish
rm package/README.extra
ln -s README.md package/link
publish
rm package/link
cp package/test-BF16.gguf keep
patch package/test-BF16.gguf 1000000 x
publish --revision two | cut -c 1-60
truncate -s -1 package/test-BF16.gguf
publish
rm package/test-BF16.gguf
publish
mv keep package/test-BF16.gguf
cp package/README.md keep
head -c "$(stat -c %s keep)" /dev/zero | tr '\0' x >package/README.md
publish
mv keep package/README.md
fresh --repo "me/test=$TOP/tests/data/tiny-qwen3moe"
publish --private
publish | grep -E "on the Hub|commit|exit"

echo "== a bad line: 429, 503, dropped connections, lost answers"
fresh --fault 429:2:PUT:/part/ --fault 503:2:POST:batch --fault drop:3:PUT:/part/ --fault 503:1:PUT:/put/ \
    --fault lost:1:POST:/complete/ --fault drop:1:POST:preupload --fault 500:1:POST:verify --fault 503:1:POST:/commit/
publish | tail -n 3
count "dropped"
parts_twice
count "/commit/main 200"
fresh --fault lost:1:POST:/commit/
publish | tail -n 2
count "/commit/main"
fresh --fault lost:1:POST:/commit/
publish --create-pr
fresh --fault 503:99:POST:batch
publish
fresh --fault drop:99:POST:batch
publish

echo "== URLs that are no longer good"
fresh --fault 403:1:PUT:/part/ --fault 403:1:PUT:/put/
publish | tail -n 2
fresh --fault 403:99:PUT:/put/
publish
fresh --fault 403:99:PUT:/part/
publish | sed -E 's|/part/[0-9]+/[0-9a-f]+/[0-9]+|/part/N|'

echo "== somebody else commits meanwhile"
fresh --fault move:1:POST:/commit/
publish
publish | tail -n 2
parts_twice

echo "== what is sent is what was hashed"
other() { # while parts are on their way: COMMAND
    fresh --fault slow:999:PUT:/part/
    "$RECAST" publish package --repo me/test --connections 1 -q >said 2>&1 &
    pid=$!
    for _ in $(seq 200); do [ "$(count '^PUT /part/.* 200')" -ge 3 ] && break; sleep 0.05; done
    eval "$1"
    wait $pid
    echo "exit $?"
    cat said
}
cp -R package kept
other "cp package/README.md r && echo more >>r && mv r package/README.md && ln -sf ../kept/recipe.json package/recipe.json"
(cd state/lfs && for f in *; do [ "$(sha256sum <"$f")" = "$f  -" ] || echo "$f is wrong"; done)
rm -r package && cp -R kept package
other "echo more >>package/README.md"
rm -r package && mv kept package
ln -s . package/hf/link
publish
rm package/hf/link
mkdir -p package/.git package/.cache && echo x >package/.git/config && echo x >package/.cache/x
publish | tail -n 1
rm -r package/.git package/.cache

echo "== killed in the middle"
fresh --fault slow:999:PUT:/part/
"$RECAST" publish package --repo me/test --connections 1 -q &
pid=$!
for _ in $(seq 200); do [ "$(count '^PUT /part/.* 200')" -ge 6 ] && break; sleep 0.05; done
publish
kill -9 $pid
wait $pid 2>/dev/null
count "/commit/"
ls -l cache/recast/publish | grep -c '^-rw-------'
grep -rl hf_writer cache
printf '{"oid":"cut' >>"$(ls -d cache/recast/publish/*)"
publish --connections 2 | tail -n 2
[ "$(parts_twice)" -le 1 ] && echo "but for the one at hand, no part was sent twice"
count LEAK

echo "== interrupted"
fresh --fault slow:999:PUT:/part/
"$RECAST" publish package --repo me/test --connections 1 -q &
pid=$!
for _ in $(seq 200); do [ "$(count '^PUT /part/.* 200')" -ge 6 ] && break; sleep 0.05; done
kill -TERM $pid
wait $pid
echo "exit $?"
publish --connections 1 | tail -n 2
[ "$(parts_twice)" -le 1 ] && echo "no part was sent twice"
