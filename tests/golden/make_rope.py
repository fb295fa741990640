#!/usr/bin/env python3
"""Writes rope.json: frequency tables as transformers computes them, for tests/unit/test_model_rope.c.

Each entry is {"head_dim", "theta", "context", "rope", "length", "bits", "attention"}: bits are the float32 inverse frequencies as
unsigned integers. Made by transformers 5.24 and torch 2.15.
"""
import json
import sys

import torch
from transformers import Qwen3MoeConfig
from transformers.models.qwen3_moe.modeling_qwen3_moe import Qwen3MoeRotaryEmbedding

NONE = {"rope_type": "default"}
CASES = [  # head_dim, theta, max_position_embeddings, rope parameters, length of the forward pass
    (128, 1e6, 40960, NONE, 0),
    (128, 5e6, 262144, NONE, 0),
    (128, 1e4, 4096, NONE, 0),
    (128, 1e7, 1010000, NONE, 0),
    (64, 1e6, 40960, NONE, 0),
    (16, 1e4, 256, NONE, 0),
    (128, 1e6, 131072, {"rope_type": "linear", "factor": 4.0}, 0),
    (16, 1e4, 1024, {"rope_type": "linear", "factor": 3.5}, 0),
    (128, 1e6, 40960, {"rope_type": "dynamic", "factor": 4.0}, 0),
    (128, 1e6, 40960, {"rope_type": "dynamic", "factor": 4.0}, 40000),
    (128, 1e6, 40960, {"rope_type": "dynamic", "factor": 4.0}, 131072),
    (128, 1e6, 32768, {"rope_type": "dynamic", "factor": 2.5}, 100000),
    (16, 1e4, 256, {"rope_type": "dynamic", "factor": 4.0}, 796),
    (128, 1e6, 131072, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 32768}, 0),
    (128, 1e6, 131072, {"rope_type": "yarn", "factor": 3.2, "original_max_position_embeddings": 40960}, 0),
    (16, 1e4, 1024, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 256}, 0),
    (128, 1e6, 131072, {"rope_type": "yarn", "factor": 3.5, "original_max_position_embeddings": 32768, "beta_fast": 24.0,
                        "beta_slow": 2.0, "truncate": False, "mscale": 1.0, "mscale_all_dim": 0.75}, 0),
    (128, 5e6, 1048576, {"rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 262144,
                         "attention_factor": 1.25}, 0),
]

out = []
for head_dim, theta, context, rope, length in CASES:
    config = Qwen3MoeConfig(head_dim=head_dim, max_position_embeddings=context)
    config.rope_parameters = dict(rope, rope_theta=theta)
    r = Qwen3MoeRotaryEmbedding(config)
    if length:
        r(torch.zeros(1, 1), torch.tensor([[length - 1]]))
    bits = [int(b) & 0xFFFFFFFF for b in r.inv_freq.view(torch.int32)]
    attention = int(torch.tensor(float(r.attention_scaling), dtype=torch.float32).view(torch.int32))
    out.append({"head_dim": head_dim, "theta": theta, "context": context, "rope": rope, "length": length,
                "attention": attention, "bits": bits})
with open(sys.argv[1], "w", encoding="utf-8") as f:
    f.write("[\n" + ",\n".join(json.dumps(o) for o in out) + "\n]\n")
