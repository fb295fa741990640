#!/usr/bin/env python3
"""Hidden numbers: prompts made again by the definition in docs/eval.md, and what transformers, in float32, gives the answers.

    make_passkey.py CHECKPOINT > passkey.txt

One line a case: length, depth, seed, trial, key, tokens, place of the sentence with the key, SHA-256 of the ids (u32, little-endian) of
the text as a whole, nats a token of the answer, tokens of it that are the most probable ones. tests/unit/test_runner_passkey.c holds
the runner to them. The sentences are those of runner/passkey.c.
"""
import hashlib
import os
import re
import struct
import sys

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

SOURCE = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../runner/passkey.c")
CASES = [(128, 0, 0, 0), (256, 50, 0, 0), (256, 100, 0, 1), (256, 25, 7, 3), (512, 75, 1, 0), (512, 0, 1, 0), (1024, 33, 123456789012, 2)]
MASK = (1 << 64) - 1


def texts():
    lines = [s.encode().decode("unicode_escape") for s in re.findall(r'"((?:[^"\\]|\\.)*\\n|Which[^"]*)"', open(SOURCE).read())]
    return lines[0], lines[1], lines[2], lines[3:]


def splitmix(seed):
    state = seed & MASK
    while True:
        state = (state + 0x9E3779B97F4A7C15) & MASK
        z = state
        z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9 & MASK
        z = (z ^ z >> 27) * 0x94D049BB133111EB & MASK
        yield z ^ z >> 31


def make(tokenizer, length, depth, seed, trial):
    beginning, hidden, question, sentences = texts()
    count = lambda text: len(tokenizer(text)["input_ids"])
    draw = splitmix(seed * 1000003 + trial)
    key = str(10000 + next(draw) % 90000)
    hidden = hidden.replace("%s", key)
    room = length - count(beginning) - count(hidden) - count(question) - count(key)
    filling, sizes = [], []
    while True:
        sentence = sentences[next(draw) % len(sentences)]
        if sum(sizes) + count(sentence) > room:
            break
        filling.append(sentence)
        sizes.append(count(sentence))
    at = next(i for i in range(len(sizes) + 1) if sum(sizes[:i]) * 100 >= sum(sizes) * depth)
    text = beginning + "".join(filling[:at]) + hidden + "".join(filling[at:]) + question + key
    return key, count(beginning) + sum(sizes[:at]), count(key), tokenizer(text)["input_ids"]


def main(checkpoint):
    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32)
    for case in CASES:
        key, at, n, ids = make(tokenizer, *case)
        with torch.no_grad():
            logits = model(torch.tensor([ids])).logits[0].double()[-n - 1:-1]
        answer = torch.tensor(ids[-n:])
        nats = -torch.log_softmax(logits, -1).gather(1, answer[:, None]).mean().item()
        right = (logits.argmax(-1) == answer).sum().item()
        digest = hashlib.sha256(struct.pack("<%dI" % len(ids), *ids)).hexdigest()
        print("\t".join(map(str, [*case, key, len(ids), at, digest, "%.7f" % nats, right])))


if __name__ == "__main__":
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    main(*sys.argv[1:])
