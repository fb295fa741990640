#!/usr/bin/env python3
"""Writes runner/unicode_tables.c: what the tokenizer must know of Unicode.

    python3 -m venv V && V/bin/pip install tokenizers==0.23.3
    V/bin/python runner/make_unicode.py > runner/unicode_tables.c

The tables must say what Hugging Face tokenizers does, and that is no single version of Unicode: its regular expressions
know Unicode 16, its NFC Unicode 9 (U+0D3B, a combining mark since Unicode 10, does not move). So the library
itself is asked, for every code point: does \\p{L}, \\p{N}, \\s match, what is the decomposition, what does it compose to,
and in front of which combining marks does it stay when text is put into canonical order. Python's own Unicode data only
supplies one mark of each combining class to compare with; classes that are assigned never change.
"""
import sys
import unicodedata

import tokenizers
from tokenizers import Regex, normalizers, pre_tokenizers

CODE_POINTS = [c for c in range(0x110000) if not 0xD800 <= c < 0xE000]
HANGUL = range(0xAC00, 0xAC00 + 11172)  # by arithmetic, in unicode.c
BLOCK = 128  # as in unicode_tables.h
nfc = normalizers.NFC().normalize_str
nfd = normalizers.NFD().normalize_str


def matching(pattern):
    """The code points that a one-character pattern matches."""
    split = pre_tokenizers.Split(Regex(pattern), "removed")
    return {c for c in CODE_POINTS if not split.pre_tokenize_str(chr(c))}


def combining_classes():
    """Code point -> class, for those that do not decompose and whose class is not 0."""

    def swaps(left, right):
        return left != right and nfd("a" + left + right) == "a" + right + left

    # text of class 0 never moves; U+0334 has the lowest class, 1, U+0345 the highest, 240
    marks = [c for c in map(chr, CODE_POINTS) if nfd(c) == c and (swaps(c, "\u0334") or swaps("\u0345", c))]
    known = {}
    for c in marks:
        known.setdefault(unicodedata.combining(c), c)
    # the class of c is the lowest one whose marks stay behind c
    return {ord(c): next(v for v in sorted(known) if not swaps(c, known[v])) for c in marks}


def decompositions():
    return {c: [ord(d) for d in nfd(chr(c))] for c in CODE_POINTS if c not in HANGUL and nfd(chr(c)) != chr(c)}


def compositions(decomposed):
    """(first, second) -> what they compose to."""
    pairs = {}
    for c, parts in decomposed.items():
        if len(parts) < 2 or nfc(chr(c)) != chr(c):
            continue  # singletons and composition exclusions never come back
        first = nfc("".join(map(chr, parts[:-1])))
        assert len(first) == 1 and nfc(first + chr(parts[-1])) == chr(c), hex(c)
        pairs[ord(first), parts[-1]] = c
    return pairs


def ranges(values):
    """[(first, last, value)] of a dictionary of code points."""
    out = []
    for c in sorted(values):
        if out and out[-1][1] == c - 1 and out[-1][2] == values[c]:
            out[-1][1] = c
        else:
            out.append([c, c, values[c]])
    return out


def moving(decomposed, composed, classes):
    """What NFC may change or join to what stands in front of it: all others are copied, and text may be cut before them."""
    seconds = {pair[1] for pair in composed} | set(range(0x1161, 0x1176)) | set(range(0x11A8, 0x11C3))
    return {c for c in CODE_POINTS
            if nfc(chr(c)) != chr(c) or any(d in classes or d in seconds for d in decomposed.get(c, [c])[:1])}


def blocks(kinds, moves):
    """Two tables: the block of every BLOCK code points, and the blocks: four bits a code point, low half of a byte first."""
    index, known = [], {}
    for first in range(0, 0x110000, BLOCK):
        nibbles = [kinds.get(c, 0) | (4 if c in moves else 0) for c in range(first, first + BLOCK)]
        block = tuple(a | b << 4 for a, b in zip(nibbles[::2], nibbles[1::2]))
        index.append(known.setdefault(block, len(known)))
    assert len(known) <= 256
    return index, list(known)


def table(kind, name, rows, counted=True):
    print(f"\nconst {kind} {name}{'[]' if counted else ''} = {{")
    line = "   "
    for row in rows:
        if line.strip() and len(line) + len(row) + 2 > 108:
            print(line)
            line = "   "
        line += f" {row},"
    print(line)
    print("};")
    if counted:
        print(f"const size_t {name}_count = sizeof {name} / sizeof *{name};")


def main():
    kinds = {}
    for pattern, kind in ((r"\p{L}", 1), (r"\p{N}", 2), (r"\s", 3)):
        kinds.update({c: kind for c in matching(pattern)})
    decomposed = decompositions()
    longest = max(map(len, decomposed.values()))
    assert longest <= 4
    print("/* unicode_tables.c -- made by runner/make_unicode.py; not edited by hand.")
    print(f" * Asked of Hugging Face tokenizers {tokenizers.__version__}, code point by code point. */")
    print("/* clang-format off */")
    print('#include "runner/unicode_tables.h"')
    row = "{{0x{:X}, 0x{:X}, {}}}".format
    classes, composed = combining_classes(), compositions(decomposed)
    index, known = blocks(kinds, moving(decomposed, composed, classes))
    table("uint8_t", "unicode_block_index[UNICODE_BLOCKS]", map(str, index), counted=False)
    table("uint8_t", "unicode_blocks[][UNICODE_BLOCK / 2]",
          ["{%s}" % ",".join(map(str, block)) for block in known], counted=False)
    table("UnicodeRange", "unicode_combining", [row(*r) for r in ranges(classes)])
    table("UnicodeDecomposition", "unicode_decompositions",
          ["{0x%X, {%s}}" % (c, ", ".join("0x%X" % p for p in parts)) for c, parts in sorted(decomposed.items())])
    table("UnicodePair", "unicode_pairs",
          ["{0x%X, 0x%X, 0x%X}" % (*pair, c) for pair, c in sorted(composed.items())])


if __name__ == "__main__":
    sys.exit(main())
