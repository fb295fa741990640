#!/usr/bin/env python3
"""Tables for docs/performance.md, and JSON, of what gpu.sh measured.

    gpu_report.py RAW [JSON]

RAW: "device NAME", and lines TYPE EXPERTS LAYERS ENGINE KIND N VALUE: seconds of a token (decode, N the context) or of a prompt (prefill, N its
tokens), each for two numbers of layers; KIND bytes: of weights that a token reads, kv: of the cache for each token that is there.

The cost of a layer is the difference of the two divided by the layers between them, so embedding, head and everything else cancel out; a model of
MODEL_LAYERS (48) is made of it. Beside it stand the ceiling, which is the memory's bandwidth (PEAK in GB/s; known for some cards) over the bytes
that a token must read, the share of it, and how a token's time splits into that of its bytes and the rest, latency. llama.cpp's tokens a second are
made the same way; `same file` is the ratio on the larger file as it is.
"""
import json
import os
import sys

# GB/s by makers' data sheets; the first name that is part of the device's counts
PEAKS = (("H200", 4800), ("H100 NVL", 3900), ("H100 PCIe", 2000), ("H100", 3350), ("B200", 8000), ("A100-SXM4-40GB", 1555), ("A100-PCIE-40GB", 1555),
         ("A100", 2039), ("L40S", 864), ("RTX PRO 6000 Blackwell", 1792), ("RTX 5090", 1792), ("RTX 4090", 1008), ("RTX 3090 Ti", 1008),
         ("RTX 3090", 936))
# what issue and arithmetic ask of 8 experts on an H100: per cent of the ceiling
GOALS = {"bf16": 65, "q8_0": 50, "q4_k_m": 37}


def read(path):
    device, rows = "", {}
    for line in open(path):
        word = line.split()
        if word[:1] == ["device"]:
            device = line[7:].strip()
        elif len(word) == 7:
            rows.setdefault((word[0], int(word[1]), word[3], word[4], int(word[5])), {})[int(word[2])] = float(word[6])
    return device, rows


def whole(by_layers, layers):
    """Of a model with so many layers: (all of it, one layer, the rest); None without two measurements."""
    if not by_layers or len(by_layers) < 2:
        return None
    few, many = min(by_layers), max(by_layers)
    layer = (by_layers[many] - by_layers[few]) / (many - few)
    rest = by_layers[few] - few * layer
    return layers * layer + rest, layer, rest


def rate(seconds):
    return 1 / seconds if seconds and seconds > 0 else 0.0


def decode_row(rows, key, layers, peak):
    kind, experts, _, _, context = key
    total, layer, rest = whole(rows[key], layers)
    weights = whole(rows.get((kind, experts, "recast", "bytes", 0)), layers)
    cache = whole(rows.get((kind, experts, "recast", "kv", 0)), layers)
    size = (weights[0] if weights else 0) + context * (cache[0] if cache else 0)
    row = dict(type=kind, experts=experts, context=context, layer_ms=layer * 1e3, rest_ms=rest * 1e3, token_ms=total * 1e3,
               tokens_per_second=rate(total), bytes=round(size), gb_per_second=size * rate(total) / 1e9)
    if peak:
        row.update(ceiling_tokens_per_second=peak * 1e9 / size if size else 0, share_percent=row["gb_per_second"] / peak * 100,
                   bytes_ms=size / peak / 1e6, latency_ms=total * 1e3 - size / peak / 1e6)
    return add_llama(row, rows, key, layers, rate)


def add_llama(row, rows, key, layers, speed):
    theirs = rows.get((key[0], key[1], "llama.cpp", key[3], key[4]))
    made = whole(theirs, layers)
    if made:
        same = max(theirs)
        row.update(llama_tokens_per_second=speed(made[0]), same_file_ratio=theirs[same] / rows[key][same])
    return row


def prefill_row(rows, key, layers):
    total, layer, _ = whole(rows[key], layers)
    speed = lambda seconds: key[4] * rate(seconds)
    row = dict(type=key[0], experts=key[1], tokens=key[4], layer_ms=layer * 1e3, tokens_per_second=speed(total))
    return add_llama(row, rows, key, layers, speed)


def cell(row, name, form):
    return form % row[name] if name in row else "–"


def table(heads, rows, columns):
    print("\n| " + " | ".join(heads) + " |\n|" + "---|" * len(heads))
    for row in rows:
        print("| " + " | ".join(cell(row, name, form) for name, form in columns) + " |")


def main(raw, out=None):
    device, rows = read(raw)
    layers = int(os.environ.get("MODEL_LAYERS", "48"))
    peak = float(os.environ.get("PEAK") or next((p for name, p in PEAKS if name in device), 0))
    order = {kind: i for i, kind in enumerate(dict.fromkeys(key[0] for key in rows))}
    keys = sorted((k for k in rows if k[2] == "recast" and len(rows[k]) > 1), key=lambda k: (order[k[0]], k[1], k[4]))
    decode = [decode_row(rows, k, layers, peak) for k in keys if k[3] == "decode"]
    prefill = [prefill_row(rows, k, layers) for k in keys if k[3] == "prefill"]
    print("\n%s%s; %d layers made of measurements with fewer" % (device, ", %g GB/s" % peak if peak else " (no PEAK in GB/s: no shares)", layers))
    table(("type", "experts", "context", "ms a layer", "ms the rest", "tok/s", "ceiling", "share", "GB/s", "ms of bytes", "ms of latency",
           "llama.cpp tok/s", "same file"), decode,
          (("type", "%s"), ("experts", "%d"), ("context", "%d"), ("layer_ms", "%.4f"), ("rest_ms", "%.4f"), ("tokens_per_second", "%.1f"),
           ("ceiling_tokens_per_second", "%.0f"), ("share_percent", "%.1f %%"), ("gb_per_second", "%.0f"), ("bytes_ms", "%.3f"),
           ("latency_ms", "%.3f"), ("llama_tokens_per_second", "%.1f"), ("same_file_ratio", "%.2fx")))
    table(("type", "experts", "prompt", "ms a layer", "tok/s", "llama.cpp tok/s", "same file"), prefill,
          (("type", "%s"), ("experts", "%d"), ("tokens", "%d"), ("layer_ms", "%.3f"), ("tokens_per_second", "%.1f"),
           ("llama_tokens_per_second", "%.1f"), ("same_file_ratio", "%.2fx")))
    print()
    for row in decode:
        if row["experts"] == 8 and row["context"] == 0 and row["type"] in GOALS and peak:
            goal = GOALS[row["type"]]
            print("goal, %s: %d %% of the ceiling: %s (%.1f %%)" % (row["type"], goal, "met" if row["share_percent"] >= goal else "MISSED", row["share_percent"]))
        if row["experts"] == 8 and row["context"] == 0 and "same_file_ratio" in row:
            print("goal, %s: 1.15x of llama.cpp on the same file: %s (%.2fx)" % (row["type"], "met" if row["same_file_ratio"] >= 1.15 else "MISSED", row["same_file_ratio"]))
    if out:
        with open(out, "w") as f:
            json.dump(dict(device=device, peak_gb_per_second=peak, layers=layers, decode=decode, prefill=prefill), f, indent=2)
            f.write("\n")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main(*sys.argv[1:])
