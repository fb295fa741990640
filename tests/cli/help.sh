# Every command has --help with options and examples.
. "$TOP/tests/cli/common"
for command in build pin convert edit inspect compare validate run tokenize; do
    "$RECAST" $command --help >help
    echo "$command $? $(grep -c '^  ' help) $(grep -c '^examples:' help)" | awk '{ print $1, "exit", $2, ($3 > 6 ? "options" : "no options"), ($4 == 1 ? "examples" : "no examples") }'
done
"$RECAST" build --help

echo "--- commands that the completion or the man page lacks"
for command in $("$RECAST" --help | awk '/^  [a-z]+ +[a-z]/ { print $1 }'); do
    grep -qE "\"[^\"]*\b$command\b[^\"]* --help" "$TOP/cli/recast.bash" || echo "recast.bash: $command"
    grep -q "^\.BI \"$command " "$TOP/docs/recast.1" || echo "recast.1: $command"
done
