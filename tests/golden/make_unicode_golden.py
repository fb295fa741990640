#!/usr/bin/env python3
"""Writes tests/golden/unicode.txt: what Hugging Face tokenizers says of every code point, as hashes.

    V/bin/pip install tokenizers==0.23.3
    V/bin/python tests/golden/make_unicode_golden.py > tests/golden/unicode.txt

Lines:
  plane N HASH   SHA-256 over the code points of a plane, surrogates left out: one letter (L, N, s for \\s, or a dot), the NFC
                 of the code point in UTF-8, a newline
  pool POINTS    code points (hex) that compose, decompose, move or nearly do: every combining mark, every part of a canonical
                 decomposition, Hangul jamo, some syllables and some plain text
  pairs HASH     over a in the pool: NFC of (a b newline) for every b in the pool, one after the other
  texts N HASH   over N texts, a newline behind each: NFC of 1 to 16 code points picked by a linear congruential generator
                 from the pool and, one time in four, from all composites (everything that has a canonical decomposition)
  composites P   those
"""
import hashlib
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

nfc = normalizers.NFC().normalize_str
CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
KINDS = [(pre_tokenizers.Split(Regex(p), "removed"), k) for p, k in ((r"\p{L}", b"L"), (r"\p{N}", b"N"), (r"\s", b"s"))]
TEXTS = 40000


def kind(c):
    return next((k for split, k in KINDS if not split.pre_tokenize_str(chr(c))), b".")


def canonical(c):
    parts = unicodedata.decomposition(chr(c))
    return [int(p, 16) for p in parts.split()] if parts and not parts.startswith("<") else []


def generator():
    state = 1
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 33


def main():
    for plane in range(17):
        h = hashlib.sha256()
        for c in CODE_POINTS:
            if c >> 16 == plane:
                h.update(kind(c) + nfc(chr(c)).encode() + b"\n")
        print("plane", plane, h.hexdigest())

    composites = [c for c in CODE_POINTS if canonical(c)]
    pool = {c for c in CODE_POINTS if unicodedata.combining(chr(c))}
    pool.update(p for c in composites for p in canonical(c))
    pool.update(range(0x1100, 0x1200), (0xAC00, 0xAC01, 0xAC1C, 0xD788, 0xD7A3), map(ord, "a1 \n<"))
    pool = sorted(pool)
    print("pool", *("%X" % c for c in pool))
    print("composites", *("%X" % c for c in composites))

    h = hashlib.sha256()
    for a in pool:
        h.update(nfc("".join(chr(a) + chr(b) + "\n" for b in pool)).encode())
    print("pairs", h.hexdigest())

    h = hashlib.sha256()
    random = generator()
    for _ in range(TEXTS):
        text = ""
        for _ in range(1 + next(random) % 16):
            source = composites if next(random) % 4 == 0 else pool
            text += chr(source[next(random) % len(source)])
        h.update(nfc(text).encode() + b"\n")
    print("texts", TEXTS, h.hexdigest())


if __name__ == "__main__":
    main()
