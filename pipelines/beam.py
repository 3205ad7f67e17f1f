"""Apache Beam, imported without its remark about cloud clients that nobody asked for."""

import logging

logging.disable(logging.WARNING)
try:
    import apache_beam as beam
    from apache_beam.io.filesystem import BeamIOError, CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import PipelineOptions
finally:
    logging.disable(logging.NOTSET)

__all__ = ["BeamIOError", "CompressionTypes", "FileSystems", "PipelineOptions", "beam"]
