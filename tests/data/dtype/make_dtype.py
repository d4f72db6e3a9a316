#!/usr/bin/env python3
"""Write the golden file of each element type, TYPE.bin: 8 blocks (256 elements for F32, F16, BF16) of random bytes, then what the
`gguf` Python package (0.17 or later; needs numpy) makes of them as F32. Scales are set to usual values; the last block keeps
its random ones, which may be subnormal, huge, infinite or not a number.

    make_dtype.py FOLDER
"""
import os, sys
import numpy as np
from gguf import quants
from gguf.constants import GGMLQuantizationType, GGML_QUANT_SIZES

# where the halves of d, m or dmin lie in a block
SCALES = {"Q4_0": [0], "Q4_1": [0, 2], "Q5_0": [0], "Q5_1": [0, 2], "Q8_0": [0], "Q2_K": [80, 82], "Q3_K": [108], "Q4_K": [0, 2],
          "Q5_K": [0, 2], "Q6_K": [208], "IQ4_NL": [0], "IQ4_XS": [0], "F32": [], "F16": [], "BF16": []}

rng = np.random.default_rng(20)
for name, places in SCALES.items():
    kind = GGMLQuantizationType[name]
    block, size = GGML_QUANT_SIZES[kind]
    n = 256 if block == 1 else 8
    raw = rng.integers(0, 256, (n, size), dtype=np.uint8)
    for at in places:
        raw[:-1, at:at + 2] = (rng.standard_normal(n - 1) * 0.02).astype("<f2").view(np.uint8).reshape(-1, 2)
    with np.errstate(all="ignore"):
        values = quants.dequantize(raw, kind).astype("<f4")
    with open(os.path.join(sys.argv[1], name + ".bin"), "wb") as out:
        out.write(raw.tobytes() + values.tobytes())
