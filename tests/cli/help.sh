# Every command has --help with options and examples.
. "$TOP/tests/cli/common"
for command in build pin convert edit inspect compare validate run tokenize; do
    "$RECAST" $command --help >help
    echo "$command $? $(grep -c '^  ' help) $(grep -c '^examples:' help)" | awk '{ print $1, "exit", $2, ($3 > 6 ? "options" : "no options"), ($4 == 1 ? "examples" : "no examples") }'
done
"$RECAST" build --help
