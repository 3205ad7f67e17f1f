"""The model that a local server serves: finds versions by name and number and describes them as TF Serving does."""

from pathlib import Path

import grpc
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2

from serving.servable import Servable
from serving.signature import RequestError


class ModelStore:
    """One model, named as its directory is, with its loaded versions.

    Raises:
        CrossDistilError: the version cannot be loaded.
    """

    def __init__(self, version_directory: Path) -> None:
        self.name = version_directory.parent.name
        servable = Servable(version_directory)
        self._servables = {servable.version: servable}

    def servable(self, name: str, version: int | None = None) -> Servable:
        """The version of the model `name`; the highest one when `version` is None.

        Raises:
            RequestError: the model or the version is not served.
        """
        wanted = max(self._servables) if version is None else version
        if name != self.name or wanted not in self._servables:
            which = f"Latest({name})" if version is None else f"Specific({name}, {version})"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Servable not found for request: {which}; {self._served()}")
        return self._servables[wanted]

    def status(self, name: str, version: int | None = None) -> get_model_status_pb2.GetModelStatusResponse:
        """The state of one version, or of all when `version` is None.

        Raises:
            RequestError: the model or the version is not served.
        """
        versions = [known for known in sorted(self._servables) if version in (None, known)]
        if name != self.name or not versions:
            which = f"version {version}" if version is not None else "any versions"
            raise RequestError(grpc.StatusCode.NOT_FOUND, f"Could not find {which} of model {name}; {self._served()}")
        response = get_model_status_pb2.GetModelStatusResponse()
        for known in versions:
            status = response.model_version_status.add()
            status.version = known
            status.state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
            status.status.SetInParent()
        return response

    def metadata(self, name: str, version: int | None = None) -> get_model_metadata_pb2.GetModelMetadataResponse:
        """The signatures of a version; the highest one when `version` is None.

        Raises:
            RequestError: the model or the version is not served.
        """
        servable = self.servable(name, version)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for key, definition in servable.definitions.items():
            signatures.signature_def[key].CopyFrom(definition)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = name
        response.model_spec.version.value = servable.version
        response.metadata["signature_def"].Pack(signatures)
        return response

    def close(self) -> None:
        """Frees the models' memory."""
        for servable in self._servables.values():
            servable.close()

    def _served(self) -> str:
        versions = ", ".join(str(version) for version in sorted(self._servables))
        return f"this server serves '{self.name}' version {versions}"
