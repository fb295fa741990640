#!/usr/bin/env python3
"""A second implementation of docs/arithmetic.md, written from that page alone, in numpy.

    make_strict.py CHECKPOINT [id ...]
    make_strict.py MODEL.gguf [id ...]

Prints the SHA-256 of the logits behind the given tokens, with KV f32, f16 and (where heads are whole blocks) q8_0, for a Qwen3-MoE model
with default RoPE; of one with quantized weights also those of --activations f32. It is slow and knows no shortcuts.
tests/unit/test_runner_forward.c holds the runner to the hashes it prints for the bundled tiny model, test_runner_quantized.c to those of
a random one in each quantized type. cos, sin and pow are Python's, in double: their last bits vanish when the results are rounded to
binary32. A GGUF's container is read by gguf-py, its blocks are taken apart here.
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


def product(w, x):
    """A matrix times a vector."""
    return dot(w, x) if isinstance(w, np.ndarray) else w.product(x)


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

def stored(x, kv):
    """What is read back from the cache."""
    if kv != "q8_0":
        return x.astype(kv).astype(F)
    d, q, _ = quantize_activations(x)
    return (d.astype(np.float16).astype(F)[:, None] * q.astype(F)).reshape(-1)


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
    g = product(w[prefix + "gate.weight"], y)
    e = exp(g - g.max())
    probability = e / total(e)
    chosen = sorted(sorted(range(len(g)), key=lambda i: (-probability[i], i))[:used])
    weight = probability[chosen] / total(probability[chosen])
    out = np.zeros(len(y), F)
    for i, x in zip(chosen, weight):
        name = f"{prefix}experts.{i}."
        h = silu(product(w[name + "gate_proj.weight"], y)) * product(w[name + "up_proj.weight"], y)
        out = fma(x, product(w[name + "down_proj.weight"], h), out)
    return out


# ---- section 8: the pass ----

def logits(c, w, tokens, kv):
    heads, kv_heads, h = c["num_attention_heads"], c["num_key_value_heads"], c["head_dim"]
    eps, inv = F(c["rms_norm_eps"]), frequencies(c["rope_theta"], c["head_dim"])
    cache = [([[] for _ in range(kv_heads)], [[] for _ in range(kv_heads)]) for _ in range(c["num_hidden_layers"])]
    for position, token in enumerate(tokens):
        x = row(w["model.embed_tokens.weight"], token)
        for layer, (keys, values) in enumerate(cache):
            p = f"model.layers.{layer}."
            y = norm(x, w[p + "input_layernorm.weight"], eps)
            q, k, v = (product(w[p + f"self_attn.{n}_proj.weight"], y).reshape(-1, h) for n in "qkv")
            for i in range(kv_heads):
                turned = turn(norm(k[i], w[p + "self_attn.k_norm.weight"], eps), position, inv)
                keys[i].append(stored(turned, kv))
                values[i].append(stored(v[i], kv))
            out = []
            for j in range(heads):
                turned = turn(norm(q[j], w[p + "self_attn.q_norm.weight"], eps), position, inv)
                i = j // (heads // kv_heads)
                out.append(attend(turned, keys[i], values[i]))
            x = x + product(w[p + "self_attn.o_proj.weight"], np.concatenate(out))
            y = norm(x, w[p + "post_attention_layernorm.weight"], eps)
            x = x + experts(y, w, p + "mlp.", c["num_experts_per_tok"])
    return product(w.get("lm_head.weight", w["model.embed_tokens.weight"]), norm(x, w["model.norm.weight"], eps))


# ---- section 11: quantized weights ----

def quantize_activations(x):
    """Blocks of 32: their d, q and sums of halves."""
    x = x.reshape(-1, 32)
    d = np.abs(x).max(axis=1) / F(127)
    with np.errstate(divide="ignore"):
        r = F(1) / d
    gone = ~np.isfinite(r)
    q = np.rint(x * np.where(gone, F(0), r)[:, None]).astype(np.int64)
    return np.where(gone, F(0), d), q, q.reshape(-1, 2, 16).sum(axis=2)


IQ4 = np.array([-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113])


class Blocks:
    """Blocks of 32 weights: c (n, 32), and one number or one for each half: scale, minimum (n, 2), d, m (n)."""

    def __init__(self, d, c, scale=None, m=None, minimum=None):
        n = len(c)
        self.d, self.c = d, c.astype(np.int64)
        self.scale = np.ones((n, 2), np.int64) if scale is None else scale.astype(np.int64)
        self.m = np.zeros(n, F) if m is None else m
        self.minimum = np.ones((n, 2), np.int64) if minimum is None else minimum.astype(np.int64)


def f16(b, at):
    return b[:, at:at + 2].copy().view("<f2").astype(F)[:, 0]


def nibbles(b):
    """16 bytes: element j in the low half of byte j, j + 16 in the high half."""
    return np.concatenate([b & 15, b >> 4], axis=1)


def fifth(b):
    word = b.copy().view("<u4")
    return (word >> np.arange(32, dtype=np.uint32)) & 1


def crumbs(b, bits):
    """Fields of a few bits: all the lowest of the bytes, then all the next."""
    return np.concatenate([b >> (bits * k) & (2 ** bits - 1) for k in range(8 // bits)], axis=1)


def spread(a):
    """One number a super-block: the same for its eight blocks."""
    return np.repeat(a, 8)


def q4_0(b):
    return Blocks(f16(b, 0), nibbles(b[:, 2:18]).astype(int) - 8)


def q4_1(b):
    return Blocks(f16(b, 0), nibbles(b[:, 4:20]), m=f16(b, 2))


def q5_0(b):
    return Blocks(f16(b, 0), (nibbles(b[:, 6:22]) + 16 * fifth(b[:, 2:6])).astype(int) - 16)


def q5_1(b):
    return Blocks(f16(b, 0), nibbles(b[:, 8:24]) + 16 * fifth(b[:, 4:8]), m=f16(b, 2))


def q8_0(b):
    return Blocks(f16(b, 0), b[:, 2:34].copy().view(np.int8))


def iq4_nl(b):
    return Blocks(f16(b, 0), IQ4[nibbles(b[:, 2:18])])


def q2_k(b):
    q = np.concatenate([crumbs(b[:, 16:48], 2), crumbs(b[:, 48:80], 2)], axis=1)
    return Blocks(spread(f16(b, 80)), q.reshape(-1, 32), (b[:, :16] & 15).reshape(-1, 2), spread(f16(b, 82)),
                  (b[:, :16] >> 4).reshape(-1, 2))


def q3_k(b):
    low = np.concatenate([crumbs(b[:, 32:64], 2), crumbs(b[:, 64:96], 2)], axis=1).astype(int)
    q = low + 4 * crumbs(b[:, :32], 1)
    s = b[:, 96:108].astype(int)
    scale = np.stack([(s[:, j] & 15 if j < 8 else s[:, j - 8] >> 4) + 16 * (s[:, 8 + j % 4] >> 2 * (j // 4) & 3) for j in range(16)], axis=1)
    return Blocks(spread(f16(b, 108)), q.reshape(-1, 32) - 4, scale.reshape(-1, 2) - 32)


def scales_of_6_bits(s):
    s = s.astype(int)
    scale = [s[:, j] & 63 for j in range(4)] + [(s[:, j + 8] & 15) + 16 * (s[:, j] >> 6) for j in range(4)]
    minimum = [s[:, j + 4] & 63 for j in range(4)] + [(s[:, j + 8] >> 4) + 16 * (s[:, j + 4] >> 6) for j in range(4)]
    return [np.repeat(np.stack(a, axis=1).reshape(-1, 1), 2, axis=1) for a in (scale, minimum)]


def pairs(b):
    """128 bytes: of each 32 the low halves, then the high ones."""
    return np.concatenate([crumbs(b[:, g:g + 32], 4) for g in range(0, 128, 32)], axis=1)


def q4_k(b):
    scale, minimum = scales_of_6_bits(b[:, 4:16])
    return Blocks(spread(f16(b, 0)), pairs(b[:, 16:]).reshape(-1, 32), scale, spread(f16(b, 2)), minimum)


def q5_k(b):
    scale, minimum = scales_of_6_bits(b[:, 4:16])
    q = pairs(b[:, 48:]) + 16 * crumbs(b[:, 16:48], 1)
    return Blocks(spread(f16(b, 0)), q.reshape(-1, 32), scale, spread(f16(b, 2)), minimum)


def q6_k(b):
    low = np.concatenate([crumbs(b[:, 0:64], 4), crumbs(b[:, 64:128], 4)], axis=1)
    q = low + 16 * np.concatenate([crumbs(b[:, 128:160], 2), crumbs(b[:, 160:192], 2)], axis=1)
    return Blocks(spread(f16(b, 208)), q.reshape(-1, 32).astype(int) - 32, b[:, 192:208].copy().view(np.int8).reshape(-1, 2))


def iq4_xs(b):
    high = b[:, 2:4].copy().view("<u2").astype(int)
    s = [(b[:, 4 + j // 2] >> 4 * (j % 2) & 15) + 16 * (high[:, 0] >> 2 * j & 3) - 32 for j in range(8)]
    q = np.concatenate([nibbles(b[:, 8 + 16 * j:24 + 16 * j]) for j in range(8)], axis=1)
    return Blocks(spread(f16(b, 0)), IQ4[q.reshape(-1, 32)], np.repeat(np.stack(s, axis=1).reshape(-1, 1), 2, axis=1))


# bytes of a block, what takes it apart, how its minima join
TYPES = {"Q4_0": (18, q4_0, 0), "Q4_1": (20, q4_1, 1), "Q5_0": (22, q5_0, 0), "Q5_1": (24, q5_1, 1), "Q8_0": (34, q8_0, 0),
         "IQ4_NL": (18, iq4_nl, 0), "Q2_K": (84, q2_k, -1), "Q3_K": (110, q3_k, 0), "Q4_K": (144, q4_k, -1), "Q5_K": (176, q5_k, -1),
         "Q6_K": (210, q6_k, 0), "IQ4_XS": (136, iq4_xs, 0)}


class Quantized:
    """A quantized matrix."""
    float_activations = False

    def __init__(self, kind, raw):
        size, take_apart, self.join = TYPES[kind]
        self.rows = raw.shape[0]
        self.b = take_apart(np.ascontiguousarray(raw).reshape(-1, size))
        self.wide = None

    def widened(self):
        """Every weight as binary32."""
        if self.wide is None:
            b = self.b
            scaled = np.repeat(b.d[:, None] * b.scale.astype(F), 16, axis=1) * b.c.astype(F)
            minimum = np.repeat(b.m[:, None] * b.minimum.astype(F), 16, axis=1)
            self.wide = (scaled + minimum if self.join > 0 else scaled - minimum if self.join < 0 else scaled).reshape(self.rows, -1)
        return self.wide

    def product(self, x):
        if Quantized.float_activations:
            return dot(self.widened(), x)
        d, a, s = quantize_activations(x)
        n = len(d)
        b = self.b
        c = b.c.reshape(self.rows, n, 2, 16)
        v = ((c * a.reshape(n, 2, 16)).sum(axis=3) * b.scale.reshape(self.rows, n, 2)).sum(axis=2)
        minimum = (b.minimum.reshape(self.rows, n, 2) * s).sum(axis=2)
        assert np.abs(v).max() < 2 ** 24 and np.abs(minimum).max() < 2 ** 24
        d_w, m = b.d.reshape(self.rows, n), b.m.reshape(self.rows, n)
        lane, lowest = np.zeros((self.rows, 32), F), np.zeros((self.rows, 32), F)
        for j in range(n):
            lane[:, j % 32] = fma(d_w[:, j] * d[j], v[:, j].astype(F), lane[:, j % 32])
            lowest[:, j % 32] = fma(m[:, j] * d[j], minimum[:, j].astype(F), lowest[:, j % 32])
        result = butterfly(lane)
        return result + butterfly(lowest) if self.join > 0 else result - butterfly(lowest) if self.join < 0 else result


def row(w, i):
    return (w if isinstance(w, np.ndarray) else w.widened())[i]


# ---- files ----

PARTS = {"attn_norm": "input_layernorm", "ffn_norm": "post_attention_layernorm", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj",
         "attn_output": "self_attn.o_proj", "ffn_gate_inp": "mlp.gate"}
WHOLE = {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight", "output.weight": "lm_head.weight"}


def matrix(kind, data):
    """data: the rows, as they lie in the file."""
    if kind == "BF16":
        return (data.view("<u2").astype(np.uint32) << 16).view(F)
    if kind in ("F32", "F16"):
        return data.astype(F)
    return Quantized(kind, data)


def read_gguf(path):
    import gguf
    reader = gguf.GGUFReader(path)
    weights = {}
    for t in reader.tensors:
        kind = t.tensor_type.name
        _, *middle, part, _ = t.name.split(".") if t.name.startswith("blk.") else ("", "", "")
        if t.name in WHOLE:
            weights[WHOLE[t.name]] = matrix(kind, t.data)
        elif part in PARTS:
            weights[f"model.layers.{middle[0]}.{PARTS[part]}.weight"] = matrix(kind, t.data)
        else:
            for e, one in enumerate(t.data):
                name = part.removeprefix("ffn_").removesuffix("_exps")
                weights[f"model.layers.{middle[0]}.mlp.experts.{e}.{name}_proj.weight"] = matrix(kind, one)

    def key(name):
        return reader.fields["qwen3moe." + name].contents()
    return {"num_attention_heads": key("attention.head_count"), "num_key_value_heads": key("attention.head_count_kv"),
            "head_dim": key("attention.key_length"), "rms_norm_eps": key("attention.layer_norm_rms_epsilon"),
            "rope_theta": key("rope.freq_base"), "num_hidden_layers": key("block_count"),
            "num_experts_per_tok": key("expert_used_count")}, weights


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


config, tensors = read_gguf(sys.argv[1]) if sys.argv[1].endswith(".gguf") else read(sys.argv[1])
ids = [int(a) for a in sys.argv[2:]] or [5, 53, 163, 335, 569, 865]
quantized = any(isinstance(w, Quantized) for w in tensors.values())
for activations in ("q8", "f32") if quantized else ("f32",):
    Quantized.float_activations = activations == "f32"
    for kind, name in ((np.float32, "f32"), (np.float16, "f16"), ("q8_0", "q8_0")):
        if kind == "q8_0" and config["head_dim"] % 32:
            continue
        result = logits(config, tensors, ids, kind)
        digest = hashlib.sha256(result.astype("<f4").tobytes()).hexdigest()
        print(f"activations {activations}, kv {name}: {digest}  largest {result.argmax()}")
