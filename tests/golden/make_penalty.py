#!/usr/bin/env python3
"""Prints what penalties make of logits, for tests/unit/test_runner_penalty.c.

    V/bin/pip install transformers==5.24.0 torch numpy
    V/bin/python tests/golden/make_penalty.py

The repetition penalty is transformers' RepetitionPenaltyLogitsProcessor itself; frequency and presence follow in float32, as in
vLLM's apply_penalties: logits -= frequency * count, logits -= presence * (count > 0). Hexadecimal floats.
"""
import numpy as np
import torch
from transformers import RepetitionPenaltyLogitsProcessor

PROMPT, ANSWER = [3, 1, 3, 7], [0, 5, 5, 5, 1]
LOGITS = [(((i * 7919) % 97) - 48) / 7.0 for i in range(9)] + [0.0]

for repeat, presence, frequency in [(1.3, 0.0, 0.0), (1.0, 0.6, 0.0), (1.0, 0.0, 0.35), (1.17, 0.45, 0.21), (0.8, -0.5, -0.25)]:
    logits = torch.tensor([LOGITS], dtype=torch.float32)
    if repeat != 1.0:
        logits = RepetitionPenaltyLogitsProcessor(penalty=repeat)(torch.tensor([PROMPT + ANSWER]), logits.clone())
    x = logits[0].numpy().copy()
    counts = np.bincount(ANSWER, minlength=len(x)).astype(np.float32)
    x -= np.float32(frequency) * counts
    x -= np.float32(presence) * (counts > 0)
    print("{{%sf, %sf, %sf}, {%s}}," % (repeat, presence, frequency, ", ".join(float(v).hex() + "f" for v in x)))
