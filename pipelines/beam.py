# SPDX-License-Identifier: Apache-2.0
"""Apache Beam, imported without its remark about cloud clients that nobody asked for."""

import logging

_disabled = logging.root.manager.disable
logging.disable(max(_disabled, logging.WARNING))
try:
    import apache_beam as beam
    from apache_beam.io.filesystem import BeamIOError, CompressionTypes
    from apache_beam.io.filesystems import FileSystems
    from apache_beam.options.pipeline_options import DirectOptions, PipelineOptions, StandardOptions
    from apache_beam.portability.api import beam_fn_api_pb2, endpoints_pb2
    from apache_beam.runners.portability.fn_api_runner import FnApiRunner
    from apache_beam.runners.portability.fn_api_runner.worker_handlers import GrpcWorkerHandler, WorkerHandler
    from apache_beam.runners.runner import create_runner
    from apache_beam.transforms.environments import SubprocessSDKEnvironment
finally:
    logging.disable(_disabled)

__all__ = [
    "BeamIOError",
    "CompressionTypes",
    "DirectOptions",
    "FileSystems",
    "FnApiRunner",
    "GrpcWorkerHandler",
    "PipelineOptions",
    "StandardOptions",
    "SubprocessSDKEnvironment",
    "WorkerHandler",
    "beam",
    "beam_fn_api_pb2",
    "create_runner",
    "endpoints_pb2",
]
