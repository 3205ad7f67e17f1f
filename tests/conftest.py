"""Small prepared data sets and trained runs that tests share."""

import os

os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")

from tf_crossdistil.startup import load_tensorflow

load_tensorflow()
