# SPDX-License-Identifier: Apache-2.0
"""An object store in memory, as a file system that only Beam knows."""

import io
import time
from collections.abc import Iterator
from typing import Any, ClassVar

from apache_beam.io.filesystem import BeamIOError, CompressionTypes, FileMetadata, FileSystem


class Upload(io.BytesIO):
    """An object that is there, whole, once it is closed."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def close(self) -> None:
        if not self.closed:
            ObjectStore.put(self._path, self.getvalue())
        super().close()


class ObjectStore(FileSystem):
    """Objects by name; there are no folders, and nothing is ever half there."""

    objects: ClassVar[dict[str, tuple[bytes, float]]] = {}
    full: ClassVar[bool] = False

    @classmethod
    def put(cls, path: str, content: bytes) -> None:
        if cls.full:
            # No OSError, as with clients of clouds.
            raise RuntimeError("quota exceeded")
        cls.objects[path] = content, time.time()

    @classmethod
    def scheme(cls) -> str:
        return "store"

    def join(self, basepath: str, *paths: str) -> str:
        return "/".join([basepath.rstrip("/"), *paths])

    def split(self, path: str) -> tuple[str, str]:
        return path.rsplit("/", 1)  # type: ignore[return-value]

    def mkdirs(self, path: str) -> None:
        raise AssertionError("there are no folders")

    def has_dirs(self) -> bool:
        return False

    def _list(self, dir_or_prefix: str) -> Iterator[FileMetadata]:
        yield from [self.metadata(path) for path in list(self.objects) if path.startswith(dir_or_prefix)]

    def create(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> Any:
        assert compression_type == CompressionTypes.UNCOMPRESSED, "the store would compress what is compressed"
        return Upload(path)

    def open(self, path: str, mime_type: str = "", compression_type: str = CompressionTypes.AUTO) -> Any:
        if path not in self.objects:
            raise BeamIOError(f"no object {path}")
        return io.BytesIO(self.objects[path][0])

    def copy(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        for source, target in zip(source_file_names, destination_file_names, strict=True):
            self.put(target, self.objects[source][0])

    def rename(self, source_file_names: list[str], destination_file_names: list[str]) -> None:
        self.copy(source_file_names, destination_file_names)
        self.delete(source_file_names)

    def exists(self, path: str) -> bool:
        return path in self.objects

    def size(self, path: str) -> int:
        return len(self.objects[path][0])

    def last_updated(self, path: str) -> float:
        return self.objects[path][1]

    def checksum(self, path: str) -> str:
        return str(hash(self.objects[path][0]))

    def metadata(self, path: str) -> FileMetadata:
        return FileMetadata(path, self.size(path), self.last_updated(path))

    def delete(self, paths: list[str]) -> None:
        for path in paths:
            del self.objects[path]


def below(prefix: str) -> dict[str, bytes]:
    return {
        path.removeprefix(f"{prefix}/"): content
        for path, (content, _) in ObjectStore.objects.items()
        if path.startswith(f"{prefix}/")
    }
