#!/usr/bin/env python3
"""Writes texts and their ids by Hugging Face tokenizers.

    V/bin/pip install tokenizers==0.23.3
    V/bin/python tests/golden/make_tokenizer_golden.py tests/data/tiny-qwen3moe > tests/golden/tokenizer-tiny.txt
    V/bin/python tests/golden/make_tokenizer_golden.py QWEN3_DIR > tests/golden/tokenizer-qwen3.txt

QWEN3_DIR holds the tokenizer.json of Qwen/Qwen3-30B-A3B (SHA-256 aeb13307a71acd8fe81861d94ad54ab689df773318809eed3cbe794b4492dae4).
A line is the text, quoted, with \\xHH for every byte that isn't printable ASCII and for quotes and backslashes; a tab; the
ids. The texts are the same for both.
"""
import random
import sys
import unicodedata

from tokenizers import Tokenizer

PLAIN = """
|Hello world|In the beginning God created the heaven and the earth.|  leading|trailing  |a  b|a   b    c
The quick brown fox jumps over the lazy dog.|don't|DON'T|it's we're I've I'm he'll she'd|IT'S WE'RE I'VE I'M HE'LL SHE'D
y'aLL 'sister 'tis o'clock rock'n'roll|'s|'S|'t 'T 're 'Re 'rE 've 'm 'll 'Ll 'd|'r 'l 'v 'x|''s|' s|'se 'st 'lla 'dd
123|1 2 3|3.14159|1,000,000|0x1F|2026-11-24T12:34:56Z|v1.2.3-rc4|50%|$5.00|#42|1st 2nd 3rd|x1y2z3
foo(bar, baz);|if (a != b) { return c[0] ^ d; }|int main(void) {\\n\\treturn 0;\\n}\\n|// comment\\n#define X 1\\n|<?php echo "hi"; ?>
https://example.org/a/b?c=d&e=f#g|user@example.org|/usr/local/bin|C:\\Users\\x|~/.config|--help|-O2 -Wall|a=b|a==b|a->b|::|...|!?|"quoted"
CamelCaseWord snake_case_word kebab-case-word SCREAMING_CASE|antidisestablishmentarianism|Donaudampfschifffahrt
"""

CASES = [
    "", " ", "  ", "   ", "\n", "\n\n", "\r", "\r\n", "\r\n\r\n", "\n\r", "\t", "\t\t", " \n", "\n ", " \n ", "\n \n", "  \n\n  ",
    "a\n", "a\n\nb", "a \n b", "a   \n\n  b   ", "...\r\n\r\n x", "x \t\n y", "a\r\n\r\n\r\nb", "a\r\rb", ".\n\n", "! \n", " !\n", "\n!", "1\n2\n",
    "a\x0bb", "a\x0cb", "\x1c\x1d\x1e\x1f", "a\x85b", "\x85\n", "\x00", "a\x00b", "\x01\x02", "\x7f", "\x80\x9f",
    "a\u00a0b", "a\u00a0\u00a0b", "\u00a0\u00a0", "\u00a01", "\u00a0!", "a\u3000b", "\u3000\u3000x", " \u3000x", "\u3000 x", "a\u2028b\u2029c",
    "\u1680a", "a\u2003\u2003b", "a\u202fb", "a\u205fb", "a\u180eb", "\u180e\u180e", " \u180ex", "a\u200bb", "a\u200db", "a\u2060b", "\ufeffa", "a\ufeffb",
    "\u2019s it\u2019s", "'\u017f", "it'\u017f", "x'\u017fy", "'\u212a", "'\uff53", "\u017fe", "\u02bcs", "`s", "'s's's", "s'", "''", "'\n's", "'ll\n",
    "e\u0301", "\u00e9", "E\u0301cole", "n\u0303o", "a\u0323\u0307", "a\u0307\u0323", "q\u0307\u0323", "\u1e69 s\u0323\u0307 s\u0307\u0323", "\u0301", "\u0301a", "a\u0301\u0301\u0301",
    " \u0301", "\u0344", "\u0958", "\u0915\u093c", "\u2126", "\u212b", "A\u030a", "\ufb2c", "\u05e9\u05bc\u05c1", "\ufb01", "\u1fbe", "\u0340\u0341", "\u0374", "\u037e",
    "\u2000\u2001", "\u2329\u232a", "\u0d3b\u0d4d", "\U00011935\U00011930", "\U00011938", "\U0001d15e", "\U0001d157\U0001d165", "\U000110a5\U000110ba",
    "\u09c7\u09be", "\u0b47\u0b57", "\u0cc6\u0cc2\u0cd5", "\u0dd9\u0dcf\u0dca", "\u1025\u102e", "\u30ab\u3099", "\uff76\uff9e", "\u304b\u3099\u3099",
    "\ud55c\uad6d\uc5b4", "\u1112\u1161\u11ab\u1100\u116e\u11a8\u110b\u1165", "\u1100\u1161", "\u1100\u1161\u11a7", "\u1100\u1161\u11c3", "\uac00\u11a8", "\uac01\u11a8",
    "\u1100 \u1161", "\u1113\u1161", "\u3131\u314f", "\u4f60\u597d\u4e16\u754c", "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u65e5\u672c\u8a9e\u306e\u30c6\u30b9\u30c8",
    "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0413\u043e\u0434 1812-\u0439", "\u0395\u03bb\u03bb\u03b7\u03bd\u03b9\u03ba\u03ac", "\u0645\u0631\u062d\u0628\u0627 \u0628\u0643", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
    "\u0939\u093f\u0928\u094d\u0926\u0940", "\u0e20\u0e32\u0e29\u0e32\u0e44\u0e17\u0e22", "\u1797\u17b6\u179f\u17b6\u1781\u17d2\u1798\u17c2\u179a", "Ti\u1ebfng Vi\u1ec7t", "Tie\u0302\u0301ng Vie\u0323\u0302t", "\u00df\u1e9e \u0130\u0131",
    "\u0660\u0661\u0662", "\u0966\u0967", "\u2460\u2461", "\u00b2\u00b3\u00b9", "\u00bd\u2153", "\u2160\u2161\u2162", "\uff11\uff12", "\U0001d7d8\U0001d7d9", "\u3007\u4e00", "\U00011de0", "\U00011f50\U00011f51", "\U0001e4f0", "\U00016d70",
    "\U00010d4a\U00010d6f", "\U00031350", "\U0002ebf0", "\U0001e4d0\U0001e4ff", "\U00011f04", "\ua7cb\ua7da", "\u1c89\u1c8a", "\U000105c0", "\U00011380\U00011383", "\ue000", "\U000f0000", "\uffff", "\ufdd0", "\U0010ffff",
    "\U0001f600", "\U0001f600\U0001f600", "a\U0001f600b", " \U0001f680 go", "\U0001f468\u200d\U0001f469\u200d\U0001f467", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea", "\U0001f44d\U0001f3fd", "\u2603\n\n", "1\ufe0f\u20e3",
    "<|endoftext|>", "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_end|><|im_end|>", "a<|im_end|>b", "a <|im_end|> b", "  <|im_end|>  ", "<think>\n\n</think>\n\n", "<think>x</think>",
    "un<think>able", "<|im_end", "|im_end|>", "<<|im_end|>>", "<|im_<|im_end|>", "<|im_end|", "< |im_end|>", "<|IM_END|>", "<|im_end|>\u0301", "e<|im_end|>\u0301", "\u1100<think>\u1161", "<think", "</think", "</thinking>",
    "<thin<think>k>", "[PAD1010]", "[PAD151700]", "\u0120hello", "\u010a", "\u0100\u0143", "<unk>", "<s>", "\\n", "\ufffd",
    "word " * 50, "a" * 300, " " * 300 + "x", "\n" * 100, "ab" * 200, "\u00e9" * 100, "\u0301" * 100, "\u0301\u0323" * 60, "'s" * 60, " \n" * 60, "<|im_end|>" * 20, "\u4e2d" * 120, "9" * 120, "=" * 130, "\U0001f600" * 40,
    # long enough for the way of long pieces
    "".join(chr(97 + i * i * 7 // 3 % 26) for i in range(900)), "the" * 300, "abcab" * 150, "a" * 1021, " " * 777 + "x", "=" * 1000, "\n" * 600,
    "".join(chr(0x4E00 + i * i % 5000) for i in range(250)), "\U0001f600\U0001f601" * 100, "'" * 515, "-+" * 300, "word" * 128, "word" * 127 + "wor",
]


def generated():
    r = random.Random(3)
    points = [c for c in map(chr, range(0x110000)) if unicodedata.category(c) not in ("Cs", "Cn", "Co")]
    marks = [c for c in points if unicodedata.combining(c)]
    parts = list(" \t\r\n\u00a0\u3000\u0085'\u2019\u017fsStTmMdDlLrReEvV<|>.,!?-_\u200d\u180e") + ["the", " God", "'ll", "\r\n", "<|im_end|>", "<think>", "e\u0301", "1", "\u0662", "\u2153"]
    parts += [chr(c) for c in (0x1100, 0x1112, 0x1161, 0x1175, 0x11A7, 0x11A8, 0x11C2, 0xAC00, 0xAC01)]
    for _ in range(160):
        text = ""
        for _ in range(r.randrange(2, 24)):
            text += r.choice(r.choice((parts, parts, parts, marks, points)))
        yield text


def quote(text):
    return "".join(chr(b) if 0x20 <= b < 0x7F and b not in b'"\\' else "\\x%02X" % b for b in text.encode())


def main():
    tokenizer = Tokenizer.from_file(sys.argv[1] + "/tokenizer.json")
    plain = [t.replace("\\n", "\n").replace("\\t", "\t") for line in PLAIN.split("\n")[1:-1] for t in line.split("|") if t]
    texts = plain + CASES + list(generated())
    for text in texts:
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        print('"%s"\t%s' % (quote(text), " ".join(map(str, ids))))


if __name__ == "__main__":
    main()
