#!/usr/bin/env python3
"""other-architecture.gguf: a random dense Qwen3 of one layer, converted and quantized by llama.cpp.

    make_other_architecture.py LLAMA_CPP_SOURCE OUT.gguf

Needs torch, transformers, sentencepiece, and llama-cpp-python (whose library quantizes). Qwen3 dense is an architecture that Recast neither converts from
Hugging Face nor runs, and Q4_0 a type that it does not write: inspect, compare, edit and GGUF -> GGUF must work all the same.
"""
import os, shutil, subprocess, sys, tempfile
import llama_cpp, torch
from transformers import Qwen3Config, Qwen3ForCausalLM

llama, out = sys.argv[1], sys.argv[2]
tokenizer = os.path.join(os.path.dirname(os.path.abspath(__file__)), "../data/tiny-qwen3moe")
with tempfile.TemporaryDirectory() as work:
    torch.manual_seed(1)
    model = Qwen3ForCausalLM(Qwen3Config(
        hidden_size=32, intermediate_size=64, num_hidden_layers=1, num_attention_heads=2, num_key_value_heads=1, head_dim=16,
        vocab_size=1024, max_position_embeddings=128, tie_word_embeddings=True, bos_token_id=1000, eos_token_id=1002))
    model.to(torch.bfloat16).save_pretrained(work)
    for name in ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt"):
        shutil.copy(os.path.join(tokenizer, name), work)
    # the converter knows pre-tokenizers by a hash of a large vocabulary's ids: tell it
    code = ("import sys; sys.path[:0] = [%r, %r]; import conversion.base as b; "
            "b.TextModel.get_vocab_base_pre = lambda self, tokenizer: 'qwen2'; "
            "import convert_hf_to_gguf as c; sys.argv = ['x', %r, '--outfile', %r, '--outtype', 'bf16', '--model-name', 'Other']; c.main()"
            % (llama, llama + "/gguf-py", work, work + "/bf16.gguf"))
    subprocess.run([sys.executable, "-c", code], check=True)
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_0
    assert llama_cpp.llama_model_quantize((work + "/bf16.gguf").encode(), out.encode(), params) == 0
