#!/usr/bin/env python3
"""Makes the golden files of the GGUF form from what llama.cpp itself writes and says. Needs its gguf package.

    make_keys.py keys BF16.gguf > tiny-keys.txt
    make_keys.py tensors F32.gguf F16.gguf BF16.gguf Q8_0.gguf > tiny-tensors.txt
    make_keys.py ids > model-ids.txt

The files come from llama.cpp's convert_hf_to_gguf.py on tests/data/tiny-qwen3moe, with --outtype f32, f16, bf16 and q8_0. It
recognises a pre-tokenizer by a hash that depends on the vocabulary, so for this small one its get_vocab_base_pre was told
"qwen2"; nothing else was changed.
"""
import hashlib
import json
import struct
import sys

import gguf

KINDS = {0: "u8", 1: "i8", 2: "u16", 3: "i16", 4: "u32", 5: "i32", 6: "f32", 7: "bool", 8: "str", 9: "arr", 10: "u64",
         11: "i64", 12: "f64"}


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def value_of(field):
    """f32 as its bits, strings quoted, arrays as element type, count and the SHA-256 of their elements in the file."""
    kind = KINDS[int(field.types[0])]
    last = field.parts[-1]
    if kind == "str":
        return kind, json.dumps(bytes(last).decode(), ensure_ascii=False)
    if kind == "f32":
        return kind, "0x%08x" % struct.unpack("<I", last.tobytes())
    if kind == "bool":
        return kind, "true" if last[0] else "false"
    if kind != "arr":
        return kind, str(int(last[0]))
    # parts: key length, key, type, element type, count, then the elements (strings: length and bytes)
    elements = b"".join(part.tobytes() for part in field.parts[5:])
    return kind, "%s %d %s" % (KINDS[int(field.types[1])], int(field.parts[4][0]), sha256(elements))


def keys(path):
    for name, field in gguf.GGUFReader(path).fields.items():
        if not name.startswith("GGUF."):
            print("\t".join((name,) + value_of(field)))


def tensors(paths):
    for outtype, path in zip(("f32", "f16", "bf16", "q8_0"), paths):
        for t in gguf.GGUFReader(path).tensors:
            shape = ",".join(str(int(n)) for n in t.shape)
            print("\t".join((outtype, t.name, t.tensor_type.name, shape, sha256(t.data.tobytes()))))


IDS = """
Qwen3-30B-A3B Qwen3-30B-A3B-Instruct-2507 Qwen3-30B-A6B-16-Extreme-128k-context Qwen3-235B-A22B Qwen3-Coder-30B-A3B-Instruct
Qwen3-30B-A3B-Base tiny-qwen3moe Mixtral-8x7B-Instruct-v0.1 bloom-7b1 phi-3-mini-4k-instruct model 123 v1.5 v1.5-30B
Llama-3.1-8B-Instruct-large some_model-1_5b-chat falcon-xxl-30B-small a--b---c Q4_K_M-thing thing-q4_k_m-30B x-F16 x-bf16-30b
gpt-2-XL ITER3-model-iter12 foo-V2-bar org/Qwen3-30B-A3B ./local-30B ../up-30b /abs-30B Org-Name/a-model-7B
30B-A3B-Qwen Qwen3-30B-30B-A3B 8x22b-x x-8x22b-y x-128K x-1M-30B x-40b2 x-7_5B-lora UPPER-lower-MiXed qwen3-v1-2 tiny-1T
abcdef0123456789abcdef0123456789abcdef01 foo-1.2.3 foo-1..2 foo-3b-3B-A3b o'neil-x_y model-30BB a-30Kb x-A3 x-medium
""".split() + ["A Normal Name", "two words-30B", " padded-name "]
TOTALS = [30532122624, 1762304, 0]


def ids():
    for total in TOTALS:
        for name in IDS:
            parts = gguf.Metadata.get_model_id_components(name, total)
            full, organization, basename, finetune, version, size = (json.dumps(p) for p in parts)
            title = json.dumps(gguf.Metadata.id_to_title(parts[0]))
            print("\t".join((str(total), json.dumps(name), full, organization, basename, finetune, version, size, title)))


if __name__ == "__main__":
    what = sys.argv[1] if len(sys.argv) > 1 else ""
    if what == "keys" and len(sys.argv) == 3:
        keys(sys.argv[2])
    elif what == "tensors" and len(sys.argv) == 6:
        tensors(sys.argv[2:])
    elif what == "ids":
        ids()
    else:
        sys.exit(__doc__)
