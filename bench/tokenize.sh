#!/bin/sh
# tokenize.sh BUILD -- how fast text becomes token ids, on one processor, beside Hugging Face tokenizers.
#
#   TOKENIZER=DIR    holds tokenizer.json (default: the bundled tiny one; figures of interest need a real vocabulary)
#   TEXT=FILE...     texts to encode as well, separated by spaces
#   PYTHON=PROGRAM   a Python with the package tokenizers: it encodes the same texts, and the ids are compared
#   RUNS=N           runs of ours, the best counts (default 3)
#
# BUILD holds lib/*.a (make). The texts: this project's own prose and code, random characters of other scripts (harder than
# real text, where words return), and words of a megabyte, at 1 and 4 MB: what is linear keeps its rate.
set -eu
build=${1:?usage: tokenize.sh BUILD}
case "$build" in /*) ;; *) build=$PWD/$build ;; esac
top=$(cd "$(dirname "$0")/.." && pwd)
tokenizer=$(cd "${TOKENIZER:-$top/tests/data/tiny-qwen3moe}" && pwd)
work=$(mktemp -d "${TMPDIR:-/tmp}/recast-bench.XXXXXX")
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT TERM
export LC_ALL=C
pin=
command -v taskset >/dev/null && pin="taskset -c $(taskset -cp $$ | sed 's/.*[:,-] *//')"

"${CC:-cc}" -std=c17 -D_GNU_SOURCE -O2 -I"$top" "$top/bench/tokenize.c" "$build/lib/runner.a" "$build/lib/model.a" "$build/lib/core.a" \
    $(pkg-config --cflags --libs libcrypto libcjson) -lm -pthread -o "$work/tokenize"

# random NAME BYTES SEPARATOR FIRST COUNT LONGEST: words of 1 to LONGEST code points out of COUNT from FIRST on.
random() {
    awk -v bytes="$2" -v separator="$3" -v first="$4" -v count="$5" -v longest="$6" '
        function utf8(c) {
            if (c < 128) return sprintf("%c", c)
            if (c < 2048) return sprintf("%c%c", 192 + int(c / 64), 128 + c % 64)
            if (c < 65536) return sprintf("%c%c%c", 224 + int(c / 4096), 128 + int(c / 64) % 64, 128 + c % 64)
            return sprintf("%c%c%c%c", 240 + int(c / 262144), 128 + int(c / 4096) % 64, 128 + int(c / 64) % 64, 128 + c % 64)
        }
        BEGIN {
            srand(1)
            for (n = 0; n < bytes; n += length(word)) {
                word = separator
                for (k = 1 + int(longest * rand()); k > 0; k--) word = word utf8(first + int(count * rand()))
                printf "%s", word
            }
        }' >"$work/$1"
}
repeat() { # NAME BYTES UNIT
    yes "$3" | tr -d '\n' | head -c "$2" >"$work/$1"
}

cat "$top"/README.md "$top"/docs/*.md >"$work/page"
for i in 1 2 3 4 5 6 7 8; do cat "$work/page"; done >"$work/prose"
rm "$work/page"
cat "$top"/*/*.c "$top"/*/*.h "$top"/tests/unit/*.c >"$work/code"
random chinese 4000000 '，' 19968 3000 12
random hebrew 2000000 ' ' 1488 27 7
random emoji 1000000 ' ' 128512 80 3
texts="prose code chinese hebrew emoji"
for n in 1 4; do
    repeat "a-$n" $((n * 1000000)) a
    head -c $((n * 1000000)) /dev/zero | tr '\0' ' ' >"$work/spaces-$n"
    random "letters-$n" $((n * 1000000)) '' 97 26 1
    random "marks-$n" $((n * 1000000)) '' 768 80 1
    random "characters-$n" $((n * 1000000)) '' 19968 20000 1
    texts="$texts a-$n spaces-$n letters-$n marks-$n characters-$n"
done
for text in ${TEXT:-}; do
    cp "$text" "$work/$(basename "$text")"
    texts="$texts $(basename "$text")"
done

cd "$work"
echo "tokenizer: $tokenizer; one processor"
# shellcheck disable=SC2086
$pin ./tokenize "$tokenizer" $texts >ours
if [ -n "${PYTHON:-}" ]; then
    # shellcheck disable=SC2086
    RAYON_NUM_THREADS=1 TOKENIZERS_PARALLELISM=false $pin "$PYTHON" - "$tokenizer/tokenizer.json" $texts >theirs <<'END'
import array, hashlib, sys, time
from tokenizers import Tokenizer
tokenizer = Tokenizer.from_file(sys.argv[1])
for name in sys.argv[2:]:
    with open(name, "rb") as f:
        data = f.read()
    text = data.decode("utf-8", "replace")
    start = time.perf_counter()
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    took = time.perf_counter() - start
    hash = hashlib.sha256(array.array("I", ids).tobytes()).hexdigest()[:12]
    print(name, "%.2f" % (len(data) / 1e6 / took), len(ids), hash)
END
fi
[ -f theirs ] || : >theirs
awk '
    FILENAME == "theirs" { rate[$1] = $2; hash[$1] = $4; next }
    FNR == 1 { printf "  %-16s %9s %9s %7s\n", "text", "MB/s", "theirs", "ratio" }
    !($1 in rate) { printf "  %-16s %9.1f\n", $1, $2; next }
    {
        printf "  %-16s %9.1f %9.2f %7.1f%s\n", $1, $2, rate[$1], $2 / rate[$1], hash[$1] == $4 ? "" : "  IDS DIFFER"
        if (hash[$1] != $4) bad = 1
    }
    END { exit bad }' theirs ours
