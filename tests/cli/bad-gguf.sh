# Broken GGUF files.
. "$TOP/tests/cli/common"
model
"$RECAST" convert model -o good.gguf -q >/dev/null
attempt() {
    echo "== $1"
    recast inspect bad.gguf >out
    cat out | tail -n 1
    rm -f bad.gguf out
}
cp good.gguf bad.gguf; patch bad.gguf 0 'X'; attempt "wrong magic"
cp good.gguf bad.gguf; patch bad.gguf 4 '\001'; attempt "version 1"
cp good.gguf bad.gguf; patch bad.gguf 8 '\377\377\377\377\377\377\377\177'; attempt "huge tensor count"
cp good.gguf bad.gguf; patch bad.gguf 16 '\377\377\377\377\377\377\377\177'; attempt "huge key count"
cp good.gguf bad.gguf; patch bad.gguf 24 '\377\377\377\377\377\377\377\177'; attempt "huge string"
cp good.gguf bad.gguf; truncate -s 1000 bad.gguf; attempt "cut in the header"
cp good.gguf bad.gguf; truncate -s 3000000 bad.gguf; attempt "cut in the data"
: >bad.gguf; attempt "empty file"
recast inspect nowhere.gguf
mkdir empty; recast inspect empty
