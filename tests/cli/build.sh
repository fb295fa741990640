# The main job on the bundled model: what appears, whether it checks, whether a second build elsewhere gives the same bytes.
. "$TOP/tests/cli/common"
"$RECAST" build "$TOP/recipes/tiny-extreme.json" -o first -q
echo "exit $?"
find first -type f | LC_ALL=C sort
(cd first && sha256sum -c --quiet SHA256SUMS && echo "SHA256SUMS agrees")
mkdir -p deep/er
(cd deep/er && TZ=Asia/Tokyo "$RECAST" build "$TOP/recipes/tiny-extreme.json" -o second -q --threads 1)
diff -r first deep/er/second && echo "the same bytes"
recast build "$TOP/recipes/tiny-extreme.json" -o first -q
recast build "$TOP/recipes/tiny-extreme.json" -o first -q --replace
diff -r first deep/er/second && echo "still the same"
ls -A
mkdir precious; echo mine >precious/file
recast build "$TOP/recipes/tiny-extreme.json" -o precious -q --replace
cat precious/file
recast validate first
recast validate first --source "$TOP/tests/data/tiny-qwen3moe" --require structure,hashes,source,rebuild,generation
recast inspect first | sed -E 's/[0-9a-f]{64}/HASH/'
