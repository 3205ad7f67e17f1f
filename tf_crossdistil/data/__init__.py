# SPDX-License-Identifier: Apache-2.0
"""Reading prepared data with tf.data, and turning raw features into the ids that the pipeline gave."""
