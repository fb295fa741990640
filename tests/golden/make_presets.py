#!/usr/bin/env python3
"""Makes presets-256.txt: the types and hashes that llama-quantize gives the tensors of a small model with rows of 256.

    make_presets.py BUILD LLAMA_QUANTIZE > presets-256.txt

BUILD is a build directory of Recast (`make`): its libraries make the model (make_presets.c), its program the BF16 GGUF that
llama-quantize is fed with. LLAMA_QUANTIZE must be built with -ffp-contract=off. Needs the gguf package.

Lines: `tensors NAME...` in the file's order; `case NAME TYPE...`, one type a tensor in that order; `hash TENSOR TYPE
plain|weighted HEX`, the first 16 digits of the SHA-256, once for all cases, since the bytes depend on nothing else.
"""
import hashlib
import os
import subprocess
import sys
import tempfile

import gguf

PRESETS = ("F32 F16 BF16 Q4_0 Q4_1 Q5_0 Q5_1 Q8_0 Q2_K Q3_K_S Q3_K_M Q3_K_L Q4_K_S Q4_K_M Q5_K_S Q5_K_M Q6_K IQ4_NL "
           "IQ4_XS").split()
FLOATS = {"F32", "F16", "BF16"}
WEIGHTED = [p for p in PRESETS if p not in FLOATS] + ["Q2_K_S"]
# What test_convert_presets.c calls them: the preset, whether it is weighted, options. Keep both lists alike.
SPECIAL = {
    "types": ("Q4_K_M", False, ["--tensor-type", "ffn_down=q6_K", "--tensor-type", "attn_v=iq4_nl", "--tensor-type",
                                r"blk\.1\.ffn_(gate|up)_exps=q3_k", "--tensor-type", "output=q5_0"]),
    "types+im": ("IQ4_XS", True, ["--tensor-type", "attn_(q|k)=q2_k", "--tensor-type", "token_embd=bf16"]),
    "single": ("Q4_K_S", False, ["--output-tensor-type", "q8_0", "--token-embedding-type", "q5_1"]),
    "single+im": ("Q3_K_M", True, ["--output-tensor-type", "f16", "--token-embedding-type", "iq4_xs"]),
    "keep": ("Q5_K_M", False, ["--leave-output-tensor"]),
    "pure": ("Q3_K_L", False, ["--pure"]),
    "pure+im": ("Q4_K_M", True, ["--pure"]),
}


def run(*command, **more):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **more)


def make_model(build, directory):
    tool = os.path.join(directory, "make")
    run("cc", "-std=c17", "-D_GNU_SOURCE", "-ffp-contract=off", "-I.", "-Itests/unit", "tests/golden/make_presets.c",
        f"{build}/lib/core.a", "-o", tool, "-lcriterion", "-lcjson", "-lcrypto", "-lm", "-pthread")
    run(tool, env=dict(os.environ, PRESETS_DIRECTORY=directory))
    run(f"{build}/recast", "convert", directory, "-o", f"{directory}/bf16.gguf", "--type", "bf16")


def main():
    build, quantize = sys.argv[1:]
    os.chdir(os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", ".."))
    cases = {p.lower(): (p, False, []) for p in PRESETS}
    cases.update({f"{p.lower()}+im": (p, True, []) for p in WEIGHTED})
    cases.update(SPECIAL)
    hashes, lines, names = {}, [], None
    with tempfile.TemporaryDirectory() as directory:
        make_model(build, directory)
        for name, (preset, weighted, options) in cases.items():
            out = f"{directory}/out.gguf"
            importance = ["--imatrix", f"{directory}/imatrix.dat"] if weighted else []
            run(quantize, *importance, *options, f"{directory}/bf16.gguf", out, preset)
            tensors = gguf.GGUFReader(out).tensors
            names = names or [t.name for t in tensors]
            assert names == [t.name for t in tensors]
            lines.append(" ".join(["case", name] + [t.tensor_type.name for t in tensors]))
            for t in tensors:
                kind = t.tensor_type.name
                how = "weighted" if weighted and kind not in FLOATS else "plain"
                found = hashlib.sha256(t.data.tobytes()).hexdigest()[:16]
                assert hashes.setdefault((t.name, kind, how), found) == found, (name, t.name)
    print("tensors", *names)
    print(*lines, sep="\n")
    for key in sorted(hashes):
        print("hash", *key, hashes[key])


main()
