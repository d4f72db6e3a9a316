#!/usr/bin/env python3
"""Write splits.json: how the published pattern of each pre-tokenizer cuts the strings of corpus.json, and more strings made
here, into words. Needs the package `regex`, which runs the patterns as they are; the character classes are replaced by the
ranges of tokenizer/char_classes.json, because the Unicode version of the package is not that of the tokenizers.

A string's cut is kept as a 32-bit FNV-1a hash over the byte lengths of its words, each as 4 bytes, little-endian.
`make_splits.py --show NAME TEXT` prints the words instead."""
import json, os, random, sys
import regex

HERE = os.path.dirname(os.path.abspath(__file__))
CONTRACTIONS = r"'s|'t|'re|'ve|'m|'ll|'d"
GPT2 = CONTRACTIONS + r"| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+"
LLAMA3 = (r"(?i:" + CONTRACTIONS + r")|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
          r"|\s+(?!\S)|\s+")
CASED = (r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+SUFFIX"
         r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*SUFFIX"
         r"|NUMBER| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+")
PATTERNS = {
    "gpt-2": [GPT2],
    "smollm": [r"\p{N}", GPT2],  # and starcoder, refact, command-r
    "llama-bpe": [LLAMA3],
    "qwen2": [LLAMA3.replace(r"\p{N}{1,3}", r"\p{N}")],  # and deepseek-r1-qwen
    "qwen35": [r"(?i:" + CONTRACTIONS + r")|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*"
               r"|\s*[\r\n]+|\s+(?!\S)|\s+"],
    "gpt-4o": [CASED.replace("SUFFIX", r"(?i:" + CONTRACTIONS + ")?").replace("NUMBER", r"\p{N}{1,3}")],
    "tekken": [CASED.replace("SUFFIX", "").replace("NUMBER", r"\p{N}")],
    "falcon": [r"[\p{P}\$\+<=>\^~\|`]+", GPT2, r"[0-9][0-9][0-9]"],
    "deepseek-llm": [r"[\r\n]", r"\s?[LETTERS]+", r"\s?[!-/:-~！-／：-～‘-‟　-。]+", r"\s+$", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}+"],
    "deepseek-coder": [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", r"[一-龥ࠀ-一가-퟿]+", r"\p{N}"],
    "deepseek-v3": [r"\p{N}{1,3}", r"[一-龥぀-ゟ゠-ヿ]+",
                    r"""[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_`{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+"""
                    r"| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
}


def ranges_text(ranges):
    return "".join(rf"\U{a:08x}-\U{b:08x}" for a, b in ranges)


def load_classes():
    data = json.load(open(os.path.join(HERE, "../../../tokenizer/char_classes.json"), encoding="utf-8"))
    classes = dict(data["classes"])
    classes["L"] = [r for name in ("Lu", "Ll", "Lt", "Lm", "Lo") for r in classes[name]]
    return {name: ranges_text(r) for name, r in classes.items()}, ranges_text(data["sets"]["deepseek_llm_letters"])


def compile_pattern(pattern, classes, letters):
    out, inside, at = "", False, 0
    while at < len(pattern):
        two = pattern[at:at + 2]
        if two == r"\p":
            end = pattern.index("}", at)
            name = pattern[at + 3:end]
            out += classes[name] if inside else "[" + classes[name] + "]"
            at = end + 1
        elif two == r"\s":
            out += classes["White_Space"] if inside else "[" + classes["White_Space"] + "]"
            at += 2
        elif two == r"\S":
            assert not inside
            out += "[^" + classes["White_Space"] + "]"
            at += 2
        elif two[0] == "\\":
            out += two
            at += 2
        else:
            if two[0] == "[" and not inside:
                inside = True
            elif two[0] == "]":
                inside = False
            out += two[0]
            at += 1
    return regex.compile(out.replace("LETTERS", letters))


def cut(steps, text):
    pieces = [text] if text else []
    for step in steps:
        cuts = []
        for piece in pieces:
            at = 0
            for match in step.finditer(piece):
                if match.start() > at:
                    cuts.append(piece[at:match.start()])
                cuts.append(match.group())
                at = match.end()
            if at < len(piece):
                cuts.append(piece[at:])
        pieces = cuts
    return pieces


def fnv(words):
    value = 0x811C9DC5
    for word in words:
        for byte in len(word.encode()).to_bytes(4, "little"):
            value = (value ^ byte) * 0x01000193 & 0xFFFFFFFF
    return value


def more_strings():
    """What the patterns turn on: cases, marks, borders of the lists of characters, kinds of space, apostrophes."""
    letters = list("aBzZéÉßſǅʰªºªاאกあア一龥龦ࠀ가퟿Ａａ𐐀𝛱ΩµƻʔᏕᲐΩ")
    marks = list("\u0301\u0323\u093e\u0e34\u20dd\ufe0f")
    spaces = list(" \t\n\r\v\f\x1c\u0085\u00a0\u2003\u2028\u3000\u200b")
    signs = list("'’.,!/-_$+<>^`|~#&\\[]{}()\"‘‟。，〜€©★")
    digits = list("0123456789٣²½Ⅷ〇")
    others = list("\x00\x1b\u00ad\u0378\ue000\U0010ffff\U000e0041")
    words = ["'s", "'T", "'re", "'VE", "'m", "'Ll", "'d", "'ſ", "I'm", "HTTPServer", "camelCase", "ABC", "hello", "12345", "  ",
             "\n\n", " \n", "\r\n", "://", "//\n", "...\n", "école", "НАТО", "Straße"]
    groups = [letters, letters, marks, spaces, spaces, signs, digits, others, words, words]
    draw = random.Random(20)
    strings = ["".join(draw.choice(draw.choice(groups)) for _ in range(draw.randint(2, 12))) for _ in range(4000)]
    for a in "aA\u0301ʰ":  # every short order of what a cased word is made of
        for b in "aA\u0301ʰ ":
            for c in "aA\u0301ʰ'":
                strings += [a + b + c, " " + a + b + c, a + b + c + "s", "\u0301" + a + b + c + "'S"]
    return strings


def main():
    classes, letters = load_classes()
    compiled = {name: [compile_pattern(p, classes, letters) for p in steps] for name, steps in PATTERNS.items()}
    if sys.argv[1:2] == ["--show"]:
        print(json.dumps(cut(compiled[sys.argv[2]], sys.argv[3]), ensure_ascii=False))
        return
    more = more_strings()
    strings = json.load(open(os.path.join(HERE, "corpus.json"), encoding="utf-8")) + more
    out = {"more": more, "hashes": {}}
    for name, steps in compiled.items():
        out["hashes"][name] = "".join(f"{fnv(cut(steps, text)):08x}" for text in strings)
    with open(os.path.join(HERE, "splits.json"), "w", encoding="utf-8") as file:
        json.dump(out, file, separators=(",", ":"), indent=None)
        file.write("\n")


main()
