# Conversations, stop strings and penalties.
. "$TOP/tests/cli/common"
model
run() { recast run model -q "$@"; }
# one question, and the same prompt written by hand
run --chat -p "Who made heaven?" -n 24
"$RECAST" run model --chat -p "Who made heaven?" -n 4 --json --system "Be brief." >asked.json
"$RECAST" run model -p "$(printf '<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\nWho made heaven?<|im_end|>\n<|im_start|>assistant\n.')" \
    -n 4 --json >written.json
tr -d ' \n' <asked.json | grep -o '"prompt_ids":\[[0-9,]*' >asked
tr -d ' \n' <written.json | grep -o '"prompt_ids":\[[0-9,]*' | sed 's/,[0-9]*$//' >written # without the "." that keeps the line end
cmp asked written && echo "the same prompt"
# a conversation: the cache is kept where it may be, and changes nothing
printf 'Who made heaven?\r\n\nAnd the sea?\n/new\nWho made heaven?\n/exit\nnever\n' | "$RECAST" run model --chat -q -n 24
echo "exit $?"
printf 'Who made heaven?\nAnd the sea?\n' | "$RECAST" run model --chat -q -n 24 --recompute
printf 'Who made heaven?\n' | "$RECAST" run model --chat -n 3 --context 64 2>&1 | sort
printf 'one two three four five six seven\n' | "$RECAST" run model --chat --context 12
echo "exit $?"
printf 'In the \nand\n' | "$RECAST" run model --chat --raw -q -n 8
printf 'a\0b\n' | "$RECAST" run model --chat
# Ctrl-C while waiting for a line
sleep 2 | timeout --preserve-status -s INT 0.7 "$RECAST" run model --chat
echo "exit $?"
# what can't be
run
run --raw -p x
run --chat --raw --system x -p x
run --chat --json
sed -i 's/{%- for m in messages/{%- for m in  messages/' model/tokenizer_config.json
run --chat -p x
run --chat --raw -p "Blessed are" -n 4
sed -i 's/"chat_template"/"no_template"/' model/tokenizer_config.json
run --chat -p x
# stop strings and penalties
run -p "And the LORD said unto Moses," -n 24 --stop "hearken"
run -p "And the LORD said unto Moses," -n 24 --stop "XYZ" --stop "unto the L"
"$RECAST" run model -p "And the LORD said unto Moses," -n 24 --stop "ken un" --json | grep '"text"\|"ids"'
run -p x --stop ""
run -p "And the LORD said unto Moses," -n 24 --repeat-penalty 1.3
run -p "And the LORD said unto Moses," -n 24 --frequency-penalty 2
run -p "And the LORD said unto Moses," -n 24 --presence-penalty=-4
run -p x --repeat-penalty=-1
