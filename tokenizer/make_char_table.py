#!/usr/bin/env python3
"""Write char_table.c from char_classes.json. With --check: fail if char_table.c is not what would be written."""
import json, os, sys

HERE = os.path.dirname(os.path.abspath(__file__))
CLASSES = ["Lu", "Ll", "Lt", "Lm", "Lo", "N", "M", "P", "S", "White_Space"]  # 1.. as in enum char_class
NEWLINE = len(CLASSES) + 1
NFC_ACTIVE, CASED_LETTER = 0x10, 0x20
BLOCK = 256
LAST = 0x110000  # one past the last code point: stands for bytes that are no character


def table():
    values = bytearray(LAST + BLOCK)
    data = json.load(open(os.path.join(HERE, "char_classes.json"), encoding="utf-8"))
    for number, name in enumerate(CLASSES, 1):
        for first, last in data["classes"][name]:
            for c in range(first, last + 1):
                assert values[c] == 0, f"U+{c:04X} is in two classes"
                values[c] = number
    for c in b"\r\n":
        values[c] = NEWLINE
    for name, bit in (("nfc_active", NFC_ACTIVE), ("deepseek_llm_letters", CASED_LETTER)):
        for first, last in data["sets"][name]:
            for c in range(first, last + 1):
                values[c] |= bit
    return values


def numbers(values):
    lines, line = [], "   "
    for v in values:
        word = f" {v},"
        if len(line) + len(word) > 110:
            lines.append(line)
            line = "   "
        line += word
    return "\n".join(lines + [line])


def source():
    values = table()
    blocks, index, known = [], [], {}
    for at in range(0, len(values), BLOCK):
        block = bytes(values[at:at + BLOCK])
        if block not in known:
            known[block] = len(blocks)
            blocks.append(block)
        index.append(known[block])
    assert len(blocks) <= 256
    return f"""/* Made by make_char_table.py from char_classes.json: change those. */
#include "tokenizer/chars.h"

const uint8_t char_block[{len(index)}] = {{
{numbers(index)}
}};

const uint8_t char_info[{len(blocks)}][CHAR_BLOCK] = {{
{rows(blocks)}
}};
"""


def rows(blocks):
    return "\n".join("    {\n" + numbers(block) + "\n    }," for block in blocks)


def main():
    path = os.path.join(HERE, "char_table.c")
    text = source()
    if sys.argv[1:] == ["--check"]:
        if open(path, encoding="utf-8").read() != text:
            sys.exit("tokenizer/char_table.c is not what make_char_table.py writes: run it")
    else:
        open(path, "w", encoding="utf-8").write(text)


main()
