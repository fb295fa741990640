# The same recipe gives the same package and the same .zip: in another folder, locale and time zone, as another user, with another number of threads.
. "$TOP/tests/cli/common"
model
recipe '{ "num_experts_per_tok": 4 }' '[ { "format": "gguf", "type": "bf16" }, { "format": "gguf", "type": "q8_0", "split": "1M" }, { "format": "hf" } ]'
mkdir -p here far/away
cp -R model far/away/model
cp recipe.json far/away/other-name.json
(cd here && TZ=UTC LC_ALL=C "$RECAST" build ../recipe.json -o p -q --threads 1)
(cd far/away && umask 077 && TZ=Pacific/Kiritimati LC_ALL=de_DE.UTF-8 LANG=tr_TR.UTF-8 USER=somebody HOME=/nowhere SOURCE_DATE_EPOCH=1 \
    "$RECAST" build other-name.json -o q -q --threads 5)
diff -r here/p far/away/q && echo "the same package"
ls here/p | tr '\n' ' '
echo
TZ=UTC "$RECAST" package here/p -o one.zip -q
sleep 1
TZ=America/St_Johns "$RECAST" package far/away/q -o two.zip -q
cmp one.zip two.zip && echo "the same archive"
# no path, name or time of this machine in it
grep -rlE "$(pwd)|$(hostname)|somebody|$(date +%Y-)" here/p | grep -v -E '\.(gguf|safetensors)$' || echo "nothing of this machine"
# signatures are drawn anew, what they sign is the same
for d in here/p far/away/q; do "$RECAST" sign $d --key "$TOP/tests/golden/signed/p256.key.pem" -q; done
diff -rq here/p far/away/q
payload() { sed 's/.*"payload":"\([^"]*\)".*/\1/' $1/model.sig | base64 -d | sed -E 's/"[^"]*","algorithm":"sha256","digest":"[0-9a-f]{64}"/&\n/g' | grep -v intoto | sed 's/"sha256":"[0-9a-f]*"//'; }
payload here/p >a
payload far/away/q >b
cmp a b && echo "the same statement, but for the statement signed anew"
