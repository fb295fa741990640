# A conversion that is SIGKILLed at random moments ends with the right bytes (tests/kill_resume.sh tells more, on a larger model); so
# does a split one, and a build of several outputs.
. "$TOP/tests/cli/common"
kills() { JOURNAL=0.002 sh "$TOP/tests/kill_resume.sh" "$RECAST" "$@" | sed 's/.*complete files, //'; }
kills "$TOP/tests/data/tiny-qwen3moe" 5 --type f32
model
recipe '{ "num_experts_per_tok": 4 }' \
    '[ { "format": "gguf", "type": "bf16", "split": "1M" }, { "format": "gguf", "type": "q8_0" }, { "format": "hf" } ]'
kills recipe.json 5 --no-generate
left
