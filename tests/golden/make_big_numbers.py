#!/usr/bin/env python3
"""A GGUF with integers that a double can't hold.

    make_big_numbers.py OUT.gguf          (gguf-py)
"""
import sys

import gguf
import numpy as np

w = gguf.GGUFWriter(sys.argv[1], "none")
w.add_uint64("x.u64.most", 2**64 - 1)
w.add_uint64("x.u64.odd", 2**53 + 1)
w.add_uint64("x.u64.last", 2**53)
w.add_key_value("x.i64.least", -2**63, gguf.GGUFValueType.INT64)
w.add_key_value("x.i64.odd", -2**53 - 1, gguf.GGUFValueType.INT64)
w.add_key_value("x.i64.small", -7, gguf.GGUFValueType.INT64)
w.add_array("x.list", [3, 1, 2])
w.add_tensor("a.weight", np.zeros((2, 4), dtype=np.float32))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()
