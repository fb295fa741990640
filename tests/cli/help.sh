# Every command has --help with options and examples.
. "$TOP/tests/cli/common"
for command in build pin convert edit inspect compare validate run tokenize; do
    "$RECAST" $command --help >help
    echo "$command $? $(grep -c '^  ' help) $(grep -c '^examples:' help)" | awk '{ print $1, "exit", $2, ($3 > 6 ? "options" : "no options"), ($4 == 1 ? "examples" : "no examples") }'
done
"$RECAST" build --help
"$RECAST" help build >by-name
"$RECAST" build --help | cmp - by-name && echo "help build is build --help"
recast help biuld

echo "--- commands that the completion or the man page lacks"
for command in $("$RECAST" --help | awk '/^  [a-z]+ +[a-z]/ { print $1 }'); do
    grep -qE "\"[^\"]*\b$command\b[^\"]* --help" "$TOP/cli/recast.bash" || echo "recast.bash: $command"
    grep -q "^\.BI \"$command " "$TOP/docs/recast.1" || echo "recast.1: $command"
done

echo "--- options that the man page lacks, but for those of every command"
for command in $("$RECAST" --help | awk '/^  [a-z]+ +[a-z]/ { print $1 }'); do
    awk -v command="$command" '/^\.SH COMMON/ { exit } /^\.BI "/ { on = index($0, ".BI \"" command " ") == 1 } on' "$TOP/docs/recast.1" >page
    "$RECAST" $command --help | sed -nE 's/^ +(-([a-z]), )?(--[a-z-]+) .*/\3 \2/p' | while read -r option letter; do
        case $option in --json | --quiet | --verbose | --progress | --threads | --help) continue ;; esac
        grep -qF -- "$option" page || { [ -n "$letter" ] && grep -q -- "-$letter " page; } || echo "$command $option"
    done
done

echo "--- words that the completion gives"
if command -v bash >/dev/null; then
    RECAST=$RECAST TOP=$TOP bash -c '. "$TOP/cli/recast.bash"
        complete_words() { COMP_WORDS=("$RECAST" "$@") COMP_CWORD=$#; _recast; echo "${COMPREPLY[@]}"; }
        complete_words pu; complete_words help la; complete_words package --re; complete_words launch x --engine s; complete_words run x --kv ""'
else
    printf 'publish\nlaunch\n--replace\nsglang\nf16 f32 q8_0\n'
fi
