# SPDX-License-Identifier: Apache-2.0
"""CrossDistil multi-task ranking on TensorFlow: from raw logs to a served student.

Importing the package loads no TensorFlow; it only settles the two things that TensorFlow reads at its own import.
"""

import os

__version__ = "1.0.0"

# TensorFlow Recommenders works with Keras 2 only, and `tf.keras` looks at this once, when it is first touched.
os.environ["TF_USE_LEGACY_KERAS"] = "1"
# Level 1 hides TensorFlow's start-up information and keeps its warnings and errors.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "1")
