# A conversion that is SIGKILLed at random moments ends with the right bytes (tests/kill_resume.sh tells more, on a larger model).
sh "$TOP/tests/kill_resume.sh" "$RECAST" "$TOP/tests/data/tiny-qwen3moe" 5 --type f32 | sed 's/.*complete files, //'
