# Progress: nothing on stderr when it is no terminal, JSON lines when asked for, and no word of time in what is compared.
. "$TOP/tests/cli/common"
model
recast convert model -o x.gguf -q
recast convert model -o x.gguf --replace --progress none -q
recast convert model -o x.gguf --progress xml -q
"$RECAST" convert model -o x.gguf --replace -q --progress json 2>lines >/dev/null
# every line is an object with these members, each phase begins at 0 and comes to its end
sed -E 's/"(elapsed|rate|left)":[0-9.]+/"\1":T/g; s/"item":"[^"]*"/"item":I/; s/"done":[1-9][0-9]*,/"done":D,/' lines | uniq
