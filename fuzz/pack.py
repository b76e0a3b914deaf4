#!/usr/bin/env python3
"""Packs corpora for `tests/replay.rs`: each input with its length in front, four bytes, little-endian.

Usage: fuzz/pack.py [most inputs of a target (150) [most bytes of an input (700)]]
Takes what is in fuzz/corpus/TARGET, the newest first, and writes fuzz/corpora/TARGET.
"""
import pathlib
import struct
import sys

inputs = int(sys.argv[1]) if len(sys.argv) > 1 else 150
most = int(sys.argv[2]) if len(sys.argv) > 2 else 700
here = pathlib.Path(__file__).parent
for target in sorted((here / "fuzz_targets").glob("*.rs")):
    name = target.stem
    found = (here / "corpus" / name).glob("*")
    small = [file for file in found if file.stat().st_size <= most]
    small.sort(key=lambda file: file.stat().st_mtime, reverse=True)
    packed = sorted((file.read_bytes() for file in small[:inputs]), key=lambda data: (len(data), data))
    (here / "corpora").mkdir(exist_ok=True)
    with open(here / "corpora" / name, "wb") as out:
        for data in packed:
            out.write(struct.pack("<I", len(data)) + data)
    print(f"{name}: {len(packed)} inputs")
