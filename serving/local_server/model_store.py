# SPDX-License-Identifier: Apache-2.0
"""The model that a local server serves: finds versions by name and number and describes them as TF Serving does."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Condition

import grpc
from tensorflow.core.protobuf import error_codes_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.local_server.servable import Servable
from serving.local_server.signature import RequestError

Status = get_model_status_pb2.ModelVersionStatus


class ModelStore:
    """The versions of one model, which may be added and dropped while requests run."""

    def __init__(self, name: str) -> None:
        self.name = name
        self._servables: dict[int, Servable] = {}
        self._running: Counter[int] = Counter()
        self._states: dict[int, get_model_status_pb2.ModelVersionStatus] = {}
        self._changed = Condition()

    @property
    def versions(self) -> list[int]:
        """The versions that take requests, lowest first."""
        with self._changed:
            return sorted(self._servables)

    def add(self, servable: Servable) -> None:
        """Lets a loaded version take requests; the highest one answers those that name no version."""
        with self._changed:
            self._servables[servable.version] = servable
            self._tell(servable.version, Status.AVAILABLE)

    def drop(self, version: int) -> None:
        """Takes a version out of service, waits for the requests that it still answers, and frees its memory."""
        with self._changed:
            servable = self._servables.pop(version)
            self._tell(version, Status.UNLOADING)
            self._changed.wait_for(lambda: not self._running[version])
            self._tell(version, Status.END)
        servable.close()

    def tell_loading(self, version: int) -> None:
        """Shows in the status that a version is being loaded."""
        with self._changed:
            self._tell(version, Status.LOADING)

    def tell_refused(self, version: int, reason: str) -> None:
        """Shows in the status why a version does not serve."""
        with self._changed:
            self._tell(version, Status.END, error_codes_pb2.UNKNOWN, reason)

    @contextmanager
    def use(self, name: str, version: int | None = None) -> Iterator[Servable]:
        """The version of the model `name`, the highest one when `version` is None; it stays loaded within the block.

        Raises:
            RequestError: the model or the version is not served.
        """
        with self._changed:
            wanted = max(self._servables, default=None) if version is None else version
            if name != self.name or wanted not in self._servables:
                which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {which}; {self._served()}")
            servable = self._servables[wanted]
            self._running[servable.version] += 1
        try:
            yield servable
        finally:
            with self._changed:
                self._running[servable.version] -= 1
                self._changed.notify_all()

    def status(self, name: str, version: int | None = None) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of one version, or of all that ever were when `version` is None, highest first.

        Raises:
            RequestError: the model or the version never was.
        """
        with self._changed:
            versions = [known for known in sorted(self._states, reverse=True) if version in (None, known)]
            if name != self.name or not versions:
                which = f"version {version}" if version is not None else "any versions"
                raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {which} of model {name}; {self._served()}")
            return get_model_status_pb2.GetModelStatusResponse(model_version_status=[self._states[known] for known in versions])

    def metadata(self, name: str, version: int | None = None) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a version; the highest one when `version` is None.

        Raises:
            RequestError: the model or the version is not served.
        """
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        with self.use(name, version) as servable:
            for key, definition in servable.definitions.items():
                signatures.signature_def[key].CopyFrom(definition)
            response.model_spec.version.value = servable.version
        response.model_spec.name = name
        response.metadata["signature_def"].Pack(signatures)
        return response

    def close(self) -> None:
        """Frees the models' memory; requests that still run are broken off."""
        for servable in self._servables.values():
            servable.close()

    def _tell(self, version: int, state: int, code: int = error_codes_pb2.OK, message: str = "") -> None:
        status = Status(version=version, state=state)
        status.status.error_code = code
        status.status.error_message = message
        self._states[version] = status

    def _served(self) -> str:
        versions = ", ".join(str(version) for version in sorted(self._servables))
        return f"this server serves '{self.name}' {f'version {versions}' if versions else 'in no version'}"
