#!/usr/bin/env python3
"""Writes conversations and the prompts that transformers' apply_chat_template makes of them.

    V/bin/pip install transformers==5.24.0 jinja2
    V/bin/python tests/golden/make_chat.py tests/data/tiny-qwen3moe COUNT TEMPLATE... > tests/golden/chat.jsonl

TEMPLATE is a file with a chat template's text: the value of "chat_template" in a tokenizer_config.json (which is taken too), or a
chat_template.jinja. The committed file has COUNT 20 and the five templates that runner/chat.c knows, of which Qwen's are those of
Qwen/Qwen3-30B-A3B (first upload and today's), Qwen3-30B-A3B-Instruct-2507 and Qwen3-30B-A3B-Thinking-2507; their hashes are in the
file. A line is {"messages": [[role, content], ...], "prompts": {hash: [enable_thinking true, false]}}; the second prompt is left
out where it equals the first.
"""
import hashlib
import json
import random
import sys

from transformers import AutoTokenizer

PIECES = ["", "\n", "\n\n", " ", "\t", "Hello", "how are you?", "1 < 2 & \"x\"", "\\n", "é", "e\u0301", "你好", "\U0001f600", "<think>", "</think>",
          "<think>\n", "\n</think>\n\n", "<think>\n\n</think>\n\n", "<tool_response>", "</tool_response>", "<|im_end|>", "<|im_start|>", "/no_think",
          "{{ x }}", "{% if %}", "</think", "think>", "answer"]

FIXED = [
    [("user", "Hi")],
    [("user", "")],
    [("system", "You are brief."), ("user", "Hi")],
    [("system", "")],
    [("system", "a"), ("system", "b"), ("user", "c")],
    [("user", "a"), ("system", "late"), ("user", "b")],
    [("user", "1+1?"), ("assistant", "<think>\nSum.\n</think>\n\n2"), ("user", "2+2?")],
    [("user", "1+1?"), ("assistant", "<think>\nSum.\n</think>\n\n2")],
    [("user", "1+1?"), ("assistant", "<think>\n\nSum.\n\n</think>\n\n\n2\n"), ("assistant", "<think>again</think>3")],
    [("user", "a"), ("assistant", "no thought"), ("assistant", "\n\nnone here"), ("assistant", "\nlast")],
    [("assistant", "I begin"), ("user", "so I see"), ("assistant", "x</think>y</think>\nz")],
    [("assistant", "only me")],
    [("user", "a"), ("assistant", "<think>one<think>two</think>three<think>four"), ("user", "<tool_response>1</tool_response>")],
    [("user", "<tool_response>1</tool_response>"), ("assistant", "<think>t</think>c")],
    [("user", "<tool_response>"), ("assistant", "<think>t</think>c"), ("user", "</tool_response>")],
]


def text(rng):
    return "".join(rng.choice(PIECES) for _ in range(rng.randint(0, 6)))


def conversation(rng):
    messages = [("system", text(rng))] if rng.random() < 0.4 else []
    for _ in range(rng.randint(1, 6)):
        role = rng.choices(["user", "assistant", "system"], [5, 5, 1])[0]
        content = text(rng)
        if role == "assistant" and rng.random() < 0.4:
            content = "<think>\n" + text(rng) + "\n</think>\n\n" + content
        if role == "user" and rng.random() < 0.15:
            content = "<tool_response>" + content + "</tool_response>"
        messages.append((role, content))
    return messages


def read_template(path):
    with open(path, encoding="utf-8", newline="") as f:
        content = f.read()
    return json.loads(content)["chat_template"] if path.endswith(".json") else content


def main():
    tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
    count, templates = int(sys.argv[2]), [read_template(p) for p in sys.argv[3:]]
    rng = random.Random(6)
    for messages in FIXED + [conversation(rng) for _ in range(count)]:
        prompts = {}
        for template in templates:
            made = [tokenizer.apply_chat_template([{"role": r, "content": c} for r, c in messages], chat_template=template, tokenize=False,
                                                  add_generation_prompt=True, enable_thinking=thinking) for thinking in (True, False)]
            prompts[hashlib.sha256(template.encode()).hexdigest()] = made[:1] if made[0] == made[1] else made
        print(json.dumps({"messages": messages, "prompts": prompts}, ensure_ascii=True))


main()
