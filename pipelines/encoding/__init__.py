"""Checked rows as framed tf.Example records."""
