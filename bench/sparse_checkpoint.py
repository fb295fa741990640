#!/usr/bin/env python3
"""A checkpoint in the full shape of Qwen3-30B-A3B that takes no room: 61 GB of zeros in a sparse file.

    sparse_checkpoint.py DIRECTORY [LAYERS [dense]]

Norms are ones, and router and the embeddings of the bundled tokenizer's tokens random numbers, so that every expert is chosen now and then
and every page of the file is read; all other weights are zero. What it says is meaningless (all tokens are equally likely); what it costs to read and
run is not. `dense`: random numbers everywhere, and no file that takes no room. The environment's SHAPE is another shape: "EMBD HEADS KV_HEADS
HEAD_DIM EXPERTS FF VOCAB".
"""
import json
import os
import random
import shutil
import struct
import sys

TINY = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../tests/data/tiny-qwen3moe")
EMBD, HEADS, KV_HEADS, HEAD_DIM, EXPERTS, FF, VOCAB = map(int, os.environ.get("SHAPE", "2048 32 4 128 128 768 151936").split())
NAMED = 1024


def shapes(layers):
    yield "model.embed_tokens.weight", [VOCAB, EMBD]
    for i in range(layers):
        at = "model.layers.%d." % i
        yield at + "input_layernorm.weight", [EMBD]
        yield at + "self_attn.q_proj.weight", [HEADS * HEAD_DIM, EMBD]
        yield at + "self_attn.k_proj.weight", [KV_HEADS * HEAD_DIM, EMBD]
        yield at + "self_attn.v_proj.weight", [KV_HEADS * HEAD_DIM, EMBD]
        yield at + "self_attn.o_proj.weight", [EMBD, HEADS * HEAD_DIM]
        yield at + "self_attn.q_norm.weight", [HEAD_DIM]
        yield at + "self_attn.k_norm.weight", [HEAD_DIM]
        yield at + "post_attention_layernorm.weight", [EMBD]
        yield at + "mlp.gate.weight", [EXPERTS, EMBD]
        for e in range(EXPERTS):
            yield at + "mlp.experts.%d.gate_proj.weight" % e, [FF, EMBD]
            yield at + "mlp.experts.%d.up_proj.weight" % e, [FF, EMBD]
            yield at + "mlp.experts.%d.down_proj.weight" % e, [EMBD, FF]
    yield "model.norm.weight", [EMBD]
    yield "lm_head.weight", [VOCAB, EMBD]


def noise(n, seed):
    """n bf16 numbers of about 1/64: a random sign and mantissa."""
    both = bytearray(2 * n)
    both[::2] = random.Random(seed).randbytes(n)
    both[1::2] = both[::2].translate(bytes(0xBC if b & 1 else 0x3C for b in range(256)))
    return bytes(both)


def contents(name, shape, dense):
    if name.endswith("norm.weight"):
        return struct.pack("<H", 0x3F80) * shape[0]
    if name.endswith("mlp.gate.weight"):
        return noise(shape[0] * shape[1], name)
    if name == "model.embed_tokens.weight":
        return noise(NAMED * EMBD, name)
    if dense:
        return noise(shape[0] * shape[1], name)
    return b""


def write_weights(path, layers, dense):
    header, at, written = {}, 0, []
    for name, shape in shapes(layers):
        size = 2
        for n in shape:
            size *= n
        header[name] = {"dtype": "BF16", "shape": shape, "data_offsets": [at, at + size]}
        written.append((at, name, shape))
        at += size
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for offset, name, shape in written:
            data = contents(name, shape, dense)
            if data:
                f.seek(8 + len(text) + offset)
                f.write(data)
        f.truncate(8 + len(text) + at)
    return at


def main(directory, layers=48, dense=False):
    os.makedirs(directory)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt", "generation_config.json"):
        shutil.copy(os.path.join(TINY, name), directory)
    with open(os.path.join(TINY, "config.json")) as f:
        config = json.load(f)
    config.update(head_dim=HEAD_DIM, hidden_size=EMBD, intermediate_size=6144, max_position_embeddings=40960, max_window_layers=layers, num_experts=EXPERTS,
                  moe_intermediate_size=FF, num_attention_heads=HEADS, num_hidden_layers=layers, num_key_value_heads=KV_HEADS,
                  rope_theta=1000000.0, vocab_size=VOCAB)
    with open(os.path.join(directory, "config.json"), "w") as f:
        json.dump(config, f, indent=2)
    size = write_weights(os.path.join(directory, "model.safetensors"), layers, dense)
    print("%s: %d layers, %.1f GB of weights" % (directory, layers, size / 1e9))


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3, 4) or sys.argv[3:] not in ([], ["dense"]):
        sys.exit(__doc__)
    main(sys.argv[1], *map(int, sys.argv[2:3]), dense=len(sys.argv) == 4)
