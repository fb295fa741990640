#!/usr/bin/env python3
"""What transformers, in float32, says behind sequences of chosen lengths, for tests/unit/test_runner_lengths.c.

    make_lengths.py CHECKPOINT > lengths-golden.json

Token i of every sequence is (31*i*i + 17*i + 5) mod 1000. A case holds the 20 largest logits behind the last token and, but for
`dynamic`, three greedy tokens; there is no cache. Lengths lie at the edges of attention's chunks of 256, and below and above the
native context of 256. The committed file was made by transformers 5.24 and torch 2.15.
"""
import json
import sys

import torch

from make_golden import load


def rope(kind, factor, n):
    scaling = {"rope_type": kind, "factor": factor}
    if kind == "yarn":
        scaling["original_max_position_embeddings"] = 256
    return {"rope_scaling": scaling} if kind == "dynamic" else {"max_position_embeddings": n, "rope_scaling": scaling}


CASES = [("%d positions" % n, n, {}) for n in (1, 255, 256, 257, 1024, 4096)]
CASES += [("%d experts" % k, 257, {"num_experts_per_tok": k}) for k in (1, 4, 16, 64, 128)]
for n in (100, 256, 257, 1024):
    CASES += [("linear 4, %d" % n, n, rope("linear", 4.0, 1024)), ("yarn 4, %d" % n, n, rope("yarn", 4.0, 1024)),
              ("dynamic 4, %d" % n, n, rope("dynamic", 4.0, 1024))]
CASES += [("yarn 16, 4096", 4096, rope("yarn", 16.0, 4096)),
          ("yarn 16 and 16 experts, 4096", 4096, dict(rope("yarn", 16.0, 4096), num_experts_per_tok=16))]


@torch.no_grad()
def run(checkpoint, name, n, overrides):
    model = load(checkpoint, overrides)
    sequence = [(31 * i * i + 17 * i + 5) % 1000 for i in range(n)]
    dynamic = overrides.get("rope_scaling", {}).get("rope_type") == "dynamic"
    logits = model(torch.tensor([sequence])).logits[0, -1]
    values, indices = logits.topk(20)
    greedy = []
    while not dynamic and len(greedy) < 3:
        greedy.append(int(logits.argmax()))
        logits = model(torch.tensor([sequence + greedy])).logits[0, -1]
    return {"name": name, "n": n, "overrides": overrides, "greedy": greedy,
            "top": [[int(i), round(float(v), 7)] for i, v in zip(indices, values)]}


if __name__ == "__main__":
    print("[\n" + ",\n".join(json.dumps(run(sys.argv[1], *c)) for c in CASES) + "\n]")
