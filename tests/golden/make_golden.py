#!/usr/bin/env python3
"""Writes what transformers says of a checkpoint, for tests/unit/test_runner_golden.c.

    make_golden.py CHECKPOINT OUT.json [--from OLD.json]

Each case has a prompt, a number of tokens and overrides of config.json. The result holds the prompt's ids, the greedy
continuation, and the 20 largest logits behind the prompt. Weights keep their bf16 values and arithmetic is float32. There is no
cache: every token runs the whole sequence, so that a dynamic RoPE table belongs to the sequence's length. With --from
the cases of an older file are made again; without, a short list of our own is used. The committed file was made by transformers
5.24 and torch 2.15.
"""
import argparse
import json

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

YARN = {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}
LONG = "And it came to pass in those days, that the people went out into the wilderness. " * 30
CASES = [
    ("base", "In the beginning", 48, {}),
    ("experts-1", "And the LORD said", 32, {"num_experts_per_tok": 1}),
    ("experts-16", "And the LORD said", 32, {"num_experts_per_tok": 16}),
    ("experts-128", "And the LORD said", 32, {"num_experts_per_tok": 128}),
    ("yarn", LONG, 24, {"num_experts_per_tok": 16, "max_position_embeddings": 1024, "rope_scaling": YARN}),
    ("linear", LONG, 24, {"max_position_embeddings": 1024, "rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    ("dynamic", LONG, 24, {"rope_scaling": {"rope_type": "dynamic", "factor": 4.0}}),
]


def load(checkpoint, overrides):
    config = AutoConfig.from_pretrained(checkpoint)
    theta = (getattr(config, "rope_parameters", None) or {}).get("rope_theta") or config.rope_theta
    for key, value in overrides.items():
        if key == "rope_scaling":
            config.rope_parameters = dict(value, rope_theta=theta)
        else:
            setattr(config, key, value)
    return AutoModelForCausalLM.from_pretrained(
        checkpoint, config=config, dtype=torch.float32, attn_implementation="eager"
    ).eval()


@torch.no_grad()
def run(checkpoint, tokenizer, case):
    # a dynamic table remembers the longest sequence it has seen, so each case loads its own model
    model = load(checkpoint, case["overrides"])
    ids = tokenizer(case["prompt"]).input_ids
    sequence, greedy, top = list(ids), [], None
    for _ in range(max(1, case["generate"])):
        logits = model(torch.tensor([sequence])).logits[0, -1]
        if top is None:
            values, indices = logits.topk(20)
            top = [[int(i), float(v)] for i, v in zip(indices, values)]
        if len(greedy) < case["generate"]:
            greedy.append(int(logits.argmax()))
            sequence.append(greedy[-1])
    return dict(case, ids=ids, greedy=greedy, text=tokenizer.decode(greedy), top=top)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("checkpoint")
    parser.add_argument("out")
    parser.add_argument("--from", dest="old")
    args = parser.parse_args()
    if args.old:
        with open(args.old, encoding="utf-8") as f:
            cases = [{k: c[k] for k in ("name", "prompt", "generate", "overrides")} for c in json.load(f)]
    else:
        cases = [dict(zip(("name", "prompt", "generate", "overrides"), c)) for c in CASES]
    tokenizer = AutoTokenizer.from_pretrained(args.checkpoint)
    results = []
    for case in cases:
        results.append(run(args.checkpoint, tokenizer, case))
        print(case["name"], repr(results[-1]["text"][:80]), flush=True)
    with open(args.out, "w", encoding="utf-8") as f:
        json.dump(results, f, indent=1)
        f.write("\n")


if __name__ == "__main__":
    main()
