#!/usr/bin/env python3
"""A random adapter for a Qwen3-MoE checkpoint: rank R on attention and on all experts, as PEFT 0.21 keeps it (target_parameters).

    make_adapter.py CHECKPOINT OUT [--rank 32] [--dtype BF16]

Needs numpy. Same bytes for the same arguments.
"""
import argparse
import json
import os
import struct

import numpy as np


def tensors(c, rank):
    d, heads, kv = c["hidden_size"], c["num_attention_heads"] * c["head_dim"], c["num_key_value_heads"] * c["head_dim"]
    ff, er = c["moe_intermediate_size"], c["num_experts"] * rank
    for n in range(c["num_hidden_layers"]):
        p = f"base_model.model.model.layers.{n}."
        for name, out, inner in (("q", heads, d), ("k", kv, d), ("v", kv, d), ("o", d, heads)):
            yield f"{p}self_attn.{name}_proj.lora_A.weight", (rank, inner)
            yield f"{p}self_attn.{name}_proj.lora_B.weight", (out, rank)
        yield p + "mlp.experts.base_layer.lora_A.weight", (er, d)
        yield p + "mlp.experts.base_layer.lora_B.weight", (2 * ff, er)
        yield p + "mlp.experts.lora_A.weight", (er, ff)
        yield p + "mlp.experts.lora_B.weight", (d, er)


def main():
    a = argparse.ArgumentParser()
    a.add_argument("checkpoint")
    a.add_argument("out")
    a.add_argument("--rank", type=int, default=32)
    a.add_argument("--dtype", default="BF16", choices=["BF16", "F32"])
    a = a.parse_args()
    c = json.load(open(os.path.join(a.checkpoint, "config.json")))
    os.makedirs(a.out, exist_ok=True)
    size, at, header, rng = 2 if a.dtype == "BF16" else 4, 0, {"__metadata__": {"format": "pt"}}, np.random.Generator(np.random.Philox(1))
    for name, shape in tensors(c, a.rank):
        n = size * int(np.prod(shape))
        header[name] = {"dtype": a.dtype, "shape": list(shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(a.out, "adapter_model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for _, shape in tensors(c, a.rank):
            values = rng.standard_normal(shape, dtype=np.float32) * np.float32(0.02)
            if a.dtype == "BF16":
                values = (values.view(np.uint32) >> 16).astype(np.uint16)
            values.tofile(f)
    config = dict(peft_type="LORA", task_type="CAUSAL_LM", r=a.rank, lora_alpha=2 * a.rank, peft_version="0.21.2", bias="none",
                  target_modules=["q_proj", "k_proj", "v_proj", "o_proj"], base_model_name_or_path=os.path.basename(a.checkpoint),
                  target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"], lora_dropout=0.0, inference_mode=True)
    with open(os.path.join(a.out, "adapter_config.json"), "w") as f:
        json.dump(config, f, indent=1)


main()
