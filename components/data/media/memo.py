"""Hashes of files that were computed before, kept with the size and the time of each file."""

from pathlib import Path

from components.files import replacing, sha256


class Hashes:
    """The sha256 of files by path; a file of the same size and time as before is not read again.

    Args:
        file: where the hashes are kept; `save` writes it.
    """

    def __init__(self, file: Path) -> None:
        import orjson

        self.file, self.added = file, False
        try:
            self.entries = orjson.loads(file.read_bytes())
        except (OSError, ValueError):
            self.entries = {}

    def sha256(self, path: Path) -> str:
        """Return the hash of a file's content.

        Raises:
            OSError: the file cannot be read.
        """
        state = path.stat()
        entry = self.entries.get(str(path))
        if entry and entry[:2] == [state.st_size, state.st_mtime_ns]:
            return entry[2]
        self.entries[str(path)] = [state.st_size, state.st_mtime_ns, sha256(path)]
        self.added = True
        return self.entries[str(path)][2]

    def save(self) -> None:
        """Keep what was computed."""
        import orjson

        if self.added:
            with replacing(self.file) as temporary:
                temporary.write_bytes(orjson.dumps(self.entries))
            self.added = False
