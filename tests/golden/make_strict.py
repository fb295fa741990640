#!/usr/bin/env python3
"""A second implementation of docs/arithmetic.md, written from that page alone, in numpy.

    make_strict.py CHECKPOINT [id ...]

Prints the SHA-256 of the logits behind the given tokens, with KV f32 and f16, for a Qwen3-MoE checkpoint with default RoPE. It is slow
and knows no shortcuts; tests/unit/test_runner_forward.c holds the runner to the hashes it prints for the bundled tiny
model. cos, sin and pow are Python's, in double: their last bits vanish when the results are rounded to binary32.
"""
import hashlib
import json
import math
import os
import struct
import sys

import numpy as np

F = np.float32
np.seterr(over="ignore", under="ignore")


# ---- section 1: numbers ----

def fma(a, b, c):
    """a * b + c rounded once. The product of two binary32 is exact in double; the sum is rounded to odd, which makes the second
    rounding, to binary32, come out as if it were the only one."""
    p, c = np.asarray(a, np.float64) * np.asarray(b, np.float64), np.asarray(c, np.float64)
    s = p + c
    t = s - p
    error = (p - (s - t)) + (c - t)
    even = (s.view(np.int64) & 1) == 0
    s = np.where((error != 0) & even, np.nextafter(s, np.where(error > 0, np.inf, -np.inf)), s)
    return s.astype(F)


# ---- section 2: reductions ----

def butterfly(lane):
    for s in (16, 8, 4, 2, 1):
        lane = lane[..., :s] + lane[..., s:2 * s]
    return lane[..., 0]


def dot(a, b):
    """Along the last axis of a; b is one vector."""
    lane = np.zeros(a.shape[:-1] + (32,), F)
    for i in range(0, a.shape[-1], 32):
        part = a[..., i:i + 32]
        n = part.shape[-1]
        lane[..., :n] = fma(part, b[i:i + 32], lane[..., :n])
    return butterfly(lane)


def total(a):
    return dot(a, np.ones(len(a), F))


# ---- section 3: functions ----

def exp(x):
    x = np.maximum(np.minimum(np.asarray(x, F), F(89)), F(-104))
    magic = F(1.5 * 2 ** 23)
    n = fma(x, F(float.fromhex("0x1.715476p+0")), magic) - magic
    r = fma(n, F(-float.fromhex("0x1.62e43p-1")), x)
    r = fma(n, F(float.fromhex("0x1.05c61p-29")), r)
    q = np.full_like(r, F(1 / math.factorial(7)))
    for k in (6, 5, 4, 3, 2):
        q = fma(q, r, F(1 / math.factorial(k)))
    e = fma(r * r, q, r) + F(1)
    k = n.astype(np.int64)
    h = k >> 1
    return (e * np.ldexp(F(1), h).astype(F)) * np.ldexp(F(1), k - h).astype(F)


def silu(x):
    return x / (F(1) + exp(-x))


# ---- section 4: norm ----

def norm(x, w, eps):
    r = F(1) / np.sqrt(dot(x, x) / F(len(x)) + eps)
    return (x * r) * w


# ---- section 5: rope ----

def frequencies(theta, h):
    e = [F(2 * i) / F(h) for i in range(h // 2)]
    return np.array([F(1) / F(math.pow(float(F(theta)), float(x))) for x in e], F)


def turn(x, position, inv):
    angle = F(position) * inv
    c = np.array([F(math.cos(float(a))) for a in angle], F)
    s = np.array([F(math.sin(float(a))) for a in angle], F)
    u, v = x[:len(inv)], x[len(inv):]
    return np.concatenate([u * c - v * s, v * c + u * s])


# ---- section 6: attention ----

def attend(q, keys, values):
    scale = F(1 / math.sqrt(len(q)))
    state = None
    for start in range(0, len(keys), 256):
        k, v = np.stack(keys[start:start + 256]), values[start:start + 256]
        s = dot(k, q) * scale
        m = s.max()
        p = exp(s - m)
        l, o = total(p), np.zeros(len(q), F)
        for weight, row in zip(p, v):
            o = fma(weight, row, o)
        if state is None:
            state = m, l, o
            continue
        m0, l0, o0 = state
        top = max(m0, m)
        a, b = exp(m0 - top), exp(m - top)
        state = top, fma(l, b, l0 * a), fma(o, b, o0 * a)
    return state[2] / state[1]


# ---- section 7: experts ----

def experts(y, w, prefix, used):
    g = dot(w[prefix + "gate.weight"], y)
    e = exp(g - g.max())
    probability = e / total(e)
    chosen = sorted(sorted(range(len(g)), key=lambda i: (-probability[i], i))[:used])
    weight = probability[chosen] / total(probability[chosen])
    out = np.zeros(len(y), F)
    for i, x in zip(chosen, weight):
        name = f"{prefix}experts.{i}."
        h = silu(dot(w[name + "gate_proj.weight"], y)) * dot(w[name + "up_proj.weight"], y)
        out = fma(x, dot(w[name + "down_proj.weight"], h), out)
    return out


# ---- section 8: the pass ----

def logits(c, w, tokens, kv):
    heads, kv_heads, h = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    eps, inv = F(c["rms_norm_eps"]), frequencies(c["rope_theta"], c["head_dim"])
    cache = [([[] for _ in range(kv_heads)], [[] for _ in range(kv_heads)]) for _ in range(c["num_hidden_layers"])]
    for position, token in enumerate(tokens):
        x = w["model.embed_tokens.weight"][token]
        for layer, (keys, values) in enumerate(cache):
            p = f"model.layers.{layer}."
            y = norm(x, w[p + "input_layernorm.weight"], eps)
            q, k, v = (dot(w[p + f"self_attn.{n}_proj.weight"], y).reshape(-1, h) for n in "qkv")
            for i in range(kv_heads):
                turned = turn(norm(k[i], w[p + "self_attn.k_norm.weight"], eps), position, inv)
                keys[i].append(turned.astype(kv).astype(F))
                values[i].append(v[i].astype(kv).astype(F))
            out = []
            for j in range(heads):
                turned = turn(norm(q[j], w[p + "self_attn.q_norm.weight"], eps), position, inv)
                i = j // (heads // kv_heads)
                out.append(attend(turned, keys[i], values[i]))
            x = x + dot(w[p + "self_attn.o_proj.weight"], np.concatenate(out))
            y = norm(x, w[p + "post_attention_layernorm.weight"], eps)
            x = x + experts(y, w, p + "mlp.", c["num_experts_per_tok"])
    return dot(w.get("lm_head.weight", w["model.embed_tokens.weight"]), norm(x, w["model.norm.weight"], eps))


def read(directory):
    weights = {}
    for name in sorted(os.listdir(directory)):
        if not name.endswith(".safetensors"):
            continue
        with open(os.path.join(directory, name), "rb") as f:
            header = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
            data = f.read()
        header.pop("__metadata__", None)
        for tensor, t in header.items():
            assert t["dtype"] == "BF16", t["dtype"]
            bits = np.frombuffer(data[t["data_offsets"][0]:t["data_offsets"][1]], "<u2").astype(np.uint32) << 16
            weights[tensor] = bits.view(F).reshape(t["shape"])
    with open(os.path.join(directory, "config.json"), encoding="utf-8") as f:
        return json.load(f), weights


config, tensors = read(sys.argv[1])
ids = [int(a) for a in sys.argv[2:]] or [5, 53, 163, 335, 569, 865]
for kind, name in ((np.float32, "f32"), (np.float16, "f16")):
    result = logits(config, tensors, ids, kind)
    print(f"kv {name}: {hashlib.sha256(result.astype('<f4').tobytes()).hexdigest()}  largest {result.argmax()}")
