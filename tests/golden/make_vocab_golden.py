#!/usr/bin/env python3
"""Writes tests/golden/vocab-keys.txt: the tokenizer keys that llama.cpp's own converter writes for variants of a tokenizer.

    V/bin/pip install torch transformers gguf
    V/bin/python tests/golden/make_vocab_golden.py LLAMA_CPP_SOURCE tests/data/tiny-qwen3moe > tests/golden/vocab-keys.txt

A variant is the tiny checkpoint's tokenizer with some edits. Lines:
  variant NAME
  edit FILE PATCH    a JSON merge patch (RFC 7396) for one of its JSON files
  file NAME TEXT     one more file, as a JSON string
  key KEY TYPE VALUE in the order of the file; strings and arrays as the SHA-256 of their bytes in the file
The converter recognises a pre-tokenizer by a hash that depends on the vocabulary's ids; it is told "qwen2" here, and nothing
else is changed.
"""
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile

ADDED = [json.loads('{"id": %d, "content": "%s", "single_word": false, "lstrip": false, "rstrip": false, "normalized": false, '
                    '"special": %s}' % (1000 + i, text, "true" if i < 3 else "false"))
         for i, text in enumerate(["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<think>", "</think>", "x\u2581y", "<|odd|>",
                                   "<unused3>", "[@BOS@]", "<\uff5cdeep\uff5c>", "plain word"])]
CONFIG, TOKENIZER, MODEL = "tokenizer_config.json", "tokenizer.json", "config.json"
THINK = {"__type": "AddedToken", "content": "<think>", "special": False, "normalized": False, "lstrip": False, "rstrip": False,
         "single_word": False}
VARIANTS = {
    "plain": [],
    "template list": [("edit", CONFIG, {"chat_template": [{"name": "default", "template": "D {{ \u00e9 }}"},
                                                         {"name": "tool use/\u00e9", "template": "T"}]})],
    "template file": [("edit", CONFIG, {"chat_template": None}), ("file", "chat_template.jinja", "a\r\nb\rc\n{{ x }}\n")],
    "template in both": [("file", "chat_template.jinja", "other")],
    "template in chat_template.json": [("edit", CONFIG, {"chat_template": None}),
                                       ("file", "chat_template.json", '{"chat_template": "from json"}')],
    "no post-processor": [("edit", TOKENIZER, {"post_processor": None}), ("edit", CONFIG, {"add_eos_token": False})],
    "more special tokens": [("edit", CONFIG, {"cls_token": "<|im_start|>", "sep_token": THINK, "mask_token": "</think>",
                                              "eos_token": None}),
                            ("edit", MODEL, {"unk_token_id": 5, "eos_token_id": [1, 2], "pad_token_id": 3})],
    "nothing named": [("edit", CONFIG, {"chat_template": None, "eos_token": None, "pad_token": None}),
                      ("edit", MODEL, {"bos_token_id": None, "eos_token_id": None})],
    "odd added tokens": [("edit", TOKENIZER, {"added_tokens": ADDED}), ("edit", CONFIG, {"added_tokens_decoder": None})],
    "named special": [("edit", CONFIG, {"additional_special_tokens": ["<think>"], "foo_token": "</think>"})],
    "special in the decoder": [("edit", CONFIG, {"added_tokens_decoder": {"1003": {"special": True}}})],
}
RUN = """
import sys
root = sys.argv.pop(1)
sys.path[:0] = [root, root + "/gguf-py"]
import conversion.base
conversion.base.TextModel.get_vocab_base_pre = lambda self, tokenizer: "qwen2"
import convert_hf_to_gguf
convert_hf_to_gguf.main()
"""


def merge(target, patch):
    if not isinstance(patch, dict):
        return patch
    target = dict(target) if isinstance(target, dict) else {}
    for key, value in patch.items():
        target.pop(key, None) if value is None else target.update({key: merge(target.get(key), value)})
    return target


def value_of(field):
    kind = field.types[0].name
    if kind not in ("STRING", "ARRAY"):
        return {"UINT32": "u32", "BOOL": "bool"}[kind], str(int(field.parts[-1][0]))
    data = b"".join(p.tobytes() for p in field.parts[3:])  # behind key length, key and type
    return {"STRING": "str", "ARRAY": "arr"}[kind], hashlib.sha256(data).hexdigest()


def main():
    root, tiny = sys.argv[1:]
    sys.path.insert(0, root + "/gguf-py")
    from gguf import GGUFReader

    for name, edits in VARIANTS.items():
        print("variant", name)
        with tempfile.TemporaryDirectory() as d:
            for file in (CONFIG, TOKENIZER, MODEL):
                shutil.copy(os.path.join(tiny, file), d)
            for what, file, value in edits:
                path = os.path.join(d, file)
                text = value
                print(what, file, json.dumps(value))
                if what == "edit":
                    with open(path) as f:
                        text = json.dumps(merge(json.load(f), value))
                with open(path, "w", newline="") as f:
                    f.write(text)
            out = os.path.join(d, "out.gguf")
            subprocess.run([sys.executable, "-c", RUN, root, d, "--vocab-only", "--outfile", out], check=True,
                           stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            for key, field in GGUFReader(out).fields.items():
                if key.startswith("tokenizer."):
                    print("key", key, *value_of(field))


if __name__ == "__main__":
    main()
