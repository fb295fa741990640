#!/usr/bin/env python3
"""What transformers, in float32, says of a text: mean negative log-likelihood in nats, by setting and window.

    make_eval.py CHECKPOINT TEXT > eval.txt

Of the first 2,048 tokens of TEXT, in windows of 256 and of 1,024, the first token of each unscored. One line a setting: name,
overrides as JSON, and the two figures. tests/unit/test_runner_eval.c holds the runner to them.
"""
import json
import sys

import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

SETTINGS = [("own", {}), ("1", {"num_experts_per_tok": 1}), ("16", {"num_experts_per_tok": 16}),
            ("128", {"num_experts_per_tok": 128}),
            ("16-yarn", {"num_experts_per_tok": 16, "max_position_embeddings": 1024,
                         "rope_scaling": {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}}),
            ("linear", {"max_position_embeddings": 1024, "rope_scaling": {"rope_type": "linear", "factor": 4.0}})]


def nll(model, ids, window):
    total = count = 0
    for at in range(0, len(ids), window):
        part = torch.tensor([ids[at:at + window]])
        with torch.no_grad():
            logp = torch.log_softmax(model(part).logits[0].double(), -1)
        total -= logp[:-1].gather(1, part[0, 1:, None]).sum().item()
        count += part.shape[1] - 1
    return total / count


def main(checkpoint, text):
    ids = AutoTokenizer.from_pretrained(checkpoint)(open(text, encoding="utf-8").read())["input_ids"][:2048]
    for name, overrides in SETTINGS:
        config = AutoConfig.from_pretrained(checkpoint)
        for key, value in overrides.items():
            if key == "rope_scaling":
                value = dict(value, rope_theta=getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"])
                config.rope_parameters = value
            else:
                setattr(config, key, value)
        model = AutoModelForCausalLM.from_pretrained(checkpoint, config=config, dtype=torch.float32)
        print("\t".join([name, json.dumps(overrides), "%.7f" % nll(model, ids, 256), "%.7f" % nll(model, ids, 1024)]))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
