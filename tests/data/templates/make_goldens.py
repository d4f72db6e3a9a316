#!/usr/bin/env python3
"""Write goldens.tsv: the SHA-256 of what jinja2 makes of each template of a folder with each of conversations.json.

The templates are other people's and are not kept here: ./make_goldens.py FOLDER > goldens.tsv, where FOLDER is
vendor/llama.cpp/models/templates of the llama-cpp-python source package. Needs jinja2 3.1.
A line: template, its SHA-256, conversation, then "output" and the SHA-256 of the text, or "refused" and the SHA-256 of the
template's own words, or "error" and the exception's class.
"""
import glob
import hashlib
import json
import os
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.join(os.path.dirname(HERE), "jinja"))
from make_cases import Refused, environment  # noqa: E402


def sha256(data):
    return hashlib.sha256(data).hexdigest()


def main(folder):
    conversations = json.load(open(os.path.join(HERE, "conversations.json"), encoding="utf-8"))
    for path in sorted(glob.glob(os.path.join(folder, "*.jinja"))):
        source = open(path, "rb").read()
        env = environment()
        for one in conversations:
            try:
                template = env.from_string(source.decode())
                result = "output", sha256(template.render(**one["context"]).encode())
            except Refused as e:
                result = "refused", sha256(str(e).encode())
            except Exception as e:
                result = "error", type(e).__name__
            print(os.path.basename(path), sha256(source), one["case"], *result, sep="\t")


main(sys.argv[1])
