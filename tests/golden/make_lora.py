#!/usr/bin/env python3
"""Adapters that PEFT saved, and what its merge_and_unload makes of the base with them.

    make_lora.py CHECKPOINT OUT        (PEFT 0.21.2, transformers 5.24, torch on the CPU)

Writes OUT/CASE/adapter_config.json, adapter_model.safetensors and merged.safetensors: tensors that the merge changed, by their
classic names, some experts of all to keep it small. Values are random with a fixed seed, so that no run of PEFT is needed to test.
tests/unit/test_model_lora.c reads them.
"""
import json
import os
import shutil
import sys

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

EXPERTS, ROWS = (0, 127), 64  # that are kept; rows of an embedding
CASES = {
    "attention": dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "v_proj", "o_proj"]),
    "rslora-patterns": dict(r=4, lora_alpha=16, use_rslora=True, target_modules=["q_proj", "v_proj"],
                            rank_pattern={"layers.1.self_attn.q_proj": 2}, alpha_pattern={"layers.0.self_attn.v_proj": 32}),
    "one-layer": dict(r=4, lora_alpha=8, target_modules=["o_proj"], layers_to_transform=[1]),
    "dora": dict(r=4, lora_alpha=8, use_dora=True, target_modules=["v_proj", "k_proj"]),
    "embedding": dict(r=2, lora_alpha=4, target_modules=["embed_tokens"]),
    "tokens": dict(r=2, lora_alpha=4, target_modules=["k_proj"], trainable_token_indices=[7, 40, 3]),
    "router": dict(r=2, lora_alpha=4, target_modules=["k_proj"], target_parameters=["mlp.gate.weight"]),
    "experts": dict(r=2, lora_alpha=4, target_modules=["q_proj"],
                    target_parameters=["mlp.experts.gate_up_proj", "mlp.experts.down_proj"]),
    "experts-down": dict(r=2, lora_alpha=4, target_modules=[], target_parameters=["mlp.experts.down_proj"]),
}
HALF = {"experts", "experts-down", "embedding"}  # saved in bfloat16, which PEFT widens when it loads


def base(checkpoint):
    return AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.bfloat16)


def classic(state):
    """Fused experts one by one, as checkpoints name them."""
    out = {}
    for name, tensor in state.items():
        prefix = name.rsplit(".", 1)[0]
        if name.endswith("experts.gate_up_proj"):
            half = tensor.shape[1] // 2
            for e in range(tensor.shape[0]):
                out[f"{prefix}.{e}.gate_proj.weight"] = tensor[e, :half]
                out[f"{prefix}.{e}.up_proj.weight"] = tensor[e, half:]
        elif name.endswith("experts.down_proj"):
            for e in range(tensor.shape[0]):
                out[f"{prefix}.{e}.down_proj.weight"] = tensor[e]
        else:
            out[name] = tensor
    return out


def fill(model, seed):
    g = torch.Generator().manual_seed(seed)
    for name, p in sorted(model.named_parameters()):
        if "lora_magnitude" in name or "trainable_tokens" in name:
            p.data += 0.05 * torch.randn(p.shape, generator=g).to(p.dtype)
        elif "lora_" in name:
            p.data = (0.1 * torch.randn(p.shape, generator=g)).to(p.dtype)


def halve(path):
    """In bfloat16, and without the base's own embedding that PEFT saves along."""
    state = {k: v for k, v in load_file(path).items() if not k.endswith("base_layer.weight")}
    save_file({k: v.to(torch.bfloat16).contiguous() for k, v in state.items()}, path, metadata={"format": "pt"})


def is_kept(case, name):
    if "layers.1.self_attn" in name and case == "attention":
        return False
    parts = name.split(".experts.")
    return len(parts) == 1 or int(parts[1].split(".")[0]) in EXPERTS


def make(case, settings, checkpoint, out):
    directory = os.path.join(out, case)
    shutil.rmtree(directory, ignore_errors=True)
    model = get_peft_model(base(checkpoint), LoraConfig(task_type="CAUSAL_LM", **settings))
    fill(model, sorted(CASES).index(case) + 1)
    model.save_pretrained(directory)
    weights = os.path.join(directory, "adapter_model.safetensors")
    if case in HALF:
        halve(weights)
    config_path = os.path.join(directory, "adapter_config.json")
    config = json.load(open(config_path))
    config["base_model_name_or_path"] = "tiny-qwen3moe"
    for key in ("target_modules", "target_parameters"):
        if isinstance(config.get(key), list):
            config[key].sort()
    json.dump(config, open(config_path, "w"), indent=1, sort_keys=True)
    os.remove(os.path.join(directory, "README.md"))
    before = classic(base(checkpoint).state_dict())
    after = classic(PeftModel.from_pretrained(base(checkpoint), directory).merge_and_unload().state_dict())
    changed = {k: v.contiguous() for k, v in after.items() if not torch.equal(v, before[k]) and is_kept(case, k)}
    changed = {k: v[:ROWS].clone() if "embed" in k else v for k, v in changed.items()}
    assert changed
    save_file(changed, os.path.join(directory, "merged.safetensors"))
    print(case, len(changed), list(load_file(weights)))


if __name__ == "__main__":
    for case, settings in CASES.items():
        if len(sys.argv) < 4 or case in sys.argv[3:]:
            make(case, settings, sys.argv[1], sys.argv[2])
