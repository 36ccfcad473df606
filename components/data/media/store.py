"""Looking up media: from the values of a row to references, and from what is no file of its own to a kept one."""

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.config.groups.data import Data
from components.data.formats import read_row
from components.data.media.downloads import MAX_BYTES, THREADS, DownloadError, download
from components.data.media.memo import Hashes
from components.data.media.origin import Origin
from components.data.media.values import ADDRESSES, content_or_address, is_url, paths_in, urls_in
from components.files import replacing, write_json
from components.media import COLUMNS, suffix_of, with_tags
from components.parallel import threaded
from components.rows import Row

if TYPE_CHECKING:
    import zipfile

    from components.hub import Repository

MARK = re.compile(rb"[\"'](?:input_)?(?:image|video|audio)", re.IGNORECASE)
"""What the JSON of a row with media has: the name of a column, or of a part's key or type."""
SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
PROBLEM_MAX_CHARS = 200


class MediaStore:
    """The media of rows. Files stay where they are; all else (bytes, base64, downloads, members of archives) is kept in
    `folder`, named by content.

    A reference is `{"path", "sha256"}`; one without a hash has a `problem` instead, which the data gate names.

    Args:
        memo: file of the hashes computed before.
        workspace: where relative paths are looked up last.
    """

    def __init__(self, folder: Path, memo: Path, workspace: Path, data: Data) -> None:
        self.folder, self.workspace, self.allowed = folder, workspace, data.download_media
        self.root = workspace / Path(data.root_image_dir).expanduser() if data.root_image_dir else None
        self.hashes = Hashes(memo)
        self.references, self.missing = set[tuple[str, str, str]](), set[str]()
        self.failed: dict[str, str] = {}
        self.downloaded: dict[str, str] = {}
        self.archives: dict[Path, zipfile.ZipFile] = {}
        folder.mkdir(parents=True, exist_ok=True)

    def rows(self, raws: Sequence[bytes], origins: Sequence[Origin]) -> list[bytes]:
        """Return rows as JSON: those with media canonical, with references; all others, and those that no format reads,
        as they are."""
        import orjson

        rows = {i: row for i, raw in enumerate(raws) if MARK.search(raw) and (row := _with_media(raw))}
        if not rows:
            return [*raws]
        if self.allowed:
            self._download(rows.values())
        self._fetch([(row, origins[i]) for i, row in rows.items()])
        written = [*raws]
        for i, row in rows.items():
            written[i] = orjson.dumps(with_tags(self._resolved(row, origins[i])))
        return written

    def write(self, file: Path) -> None:
        """Write the list of what the rows were made of, where there are media, and keep the hashes."""
        self.hashes.save()
        if self.references or self.missing or self.failed:
            lists = {"found": self.references, "missing": self.missing, "failed": self.failed}
            write_json(file, {name: sorted(values) for name, values in lists.items()})

    def remove_others(self) -> None:
        """Remove kept files that no row refers to."""
        names = {path for _, path, _ in self.references}
        for path in self.folder.iterdir():
            if path.name not in names:
                path.unlink()

    def _resolved(self, row: Row, origin: Origin) -> Row:
        columns = {kind: name for kind, name in COLUMNS.items() if row.get(name)}
        return row | {name: [self._references(kind, v, origin) for v in row[name]] for kind, name in columns.items()}

    def _references(self, kind: str, value: Any, origin: Origin) -> Any:
        if kind == "video" and isinstance(value, list) and value:
            return [self._reference("image", frame, origin) for frame in value]
        return self._reference(kind, value, origin)

    def _reference(self, kind: str, value: Any, origin: Origin) -> dict[str, str]:
        reference = self._looked_up(value, origin)
        if "sha256" in reference:
            self.references.add((kind, reference["path"], reference["sha256"]))
        return reference

    def _looked_up(self, value: Any, origin: Origin) -> dict[str, str]:
        name = _name(value)
        try:
            source = content_or_address(value)
            if isinstance(source, bytes):
                return self._keep(source, Path(name).suffix)
            if is_url(source):
                return self._of_url(source)
            if scheme := SCHEME.match(source):
                raise ValueError(f"{scheme[0]} is no address that is read")
            return self._of_path(source, origin)
        except (ValueError, RuntimeError, OSError) as error:
            reason = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
            return {"path": name, "problem": reason[:PROBLEM_MAX_CHARS]}

    def _of_path(self, name: str, origin: Origin) -> dict[str, str]:
        if origin.repository:
            return self._of_repository(name, origin, origin.repository)
        inside = Path(name).expanduser()
        folders = dict.fromkeys(folder.absolute() for folder in (self.root, origin.folder, self.workspace) if folder)
        paths = list(dict.fromkeys(str(folder / inside) for folder in folders))
        for path in map(Path, paths):
            if path.is_file():
                return {"path": str(path), "sha256": self.hashes.sha256(path)}
        if origin.archive and (data := self._member(origin.archive, name)) is not None:
            return self._keep(data, inside.suffix)
        self.missing.update(paths)
        where = "" if inside.is_absolute() else f" in {' or '.join(map(str, folders))}"
        raise ValueError("is no regular file" if any(Path(path).exists() for path in paths) else f"no such file{where}")

    def _of_repository(self, name: str, origin: Origin, repository: "Repository") -> dict[str, str]:
        if (member := origin.in_repository(name)) is not None:
            path = repository.folder.absolute() / member
            return {"path": str(path), "sha256": self.hashes.sha256(path)}
        if origin.archive and (data := self._member(origin.archive, name)) is not None:
            return self._keep(data, Path(name).suffix)
        if self.root and not Path(name).is_absolute() and ".." not in Path(name).parts:
            if (path := self.root.absolute() / name).is_file():
                return {"path": str(path), "sha256": self.hashes.sha256(path)}
            self.missing.add(str(path))
        raise ValueError(f"no such file in the dataset '{repository.repo_id}', nor in --root_image_dir")

    def _fetch(self, rows: "Iterable[tuple[Row, Origin]]") -> None:
        """Download the files of hubs' repositories that the rows refer to.

        Raises:
            ConfigError, MartletError: as `Repository.fetch`.
        """
        names: dict[int, tuple[Repository, dict[str, None]]] = {}
        for row, origin in rows:
            if origin.repository:
                _, own = names.setdefault(id(origin.repository), (origin.repository, {}))
                own |= dict.fromkeys(filter(None, map(origin.in_repository, paths_in(row))))
        for repository, own in names.values():
            repository.fetch(own)

    def _member(self, archive: Path, name: str) -> bytes | None:
        """Return the content of an archive's member, in whichever folder there, or None where there is none."""
        import zipfile

        if archive not in self.archives:
            self.archives[archive] = zipfile.ZipFile(archive)
        opened, end = self.archives[archive], name.removeprefix("./")
        members = [m for m in opened.infolist() if m.filename == end or m.filename.endswith(f"/{end}")]
        if not members:
            return None
        if members[0].file_size > MAX_BYTES:
            raise ValueError(f"the archive's member has more than {MAX_BYTES:,} bytes; unpack the archive")
        return opened.read(members[0])

    def _of_url(self, url: str) -> dict[str, str]:
        if not self.allowed:
            raise ValueError("is not downloaded without --download_media true")
        if url in self.failed:
            raise ValueError(self.failed[url])
        name = self.downloaded[url]
        return {"path": name, "sha256": name.partition(".")[0]}

    def _download(self, rows: Iterable[Row]) -> None:
        """Download what the rows refer to and is not there yet, several files at a time."""
        urls = {url for row in rows for url in urls_in(row)} - self.downloaded.keys() - self.failed.keys()
        threaded(self._download_one, sorted(urls), THREADS)

    def _download_one(self, url: str) -> None:
        try:
            self.downloaded[url] = self._keep(download(url), Path(url.partition("?")[0]).suffix)["path"]
        except DownloadError as error:
            self.failed[url] = str(error)

    def _keep(self, data: bytes, suffix: str) -> dict[str, str]:
        """Write bytes to the folder, unless they are there; `suffix` is for what is not known by its first bytes."""
        sha = hashlib.sha256(data).hexdigest()
        suffix = suffix_of(data) or (suffix.lower() if re.fullmatch(r"\.\w{1,8}", suffix) else ".bin")
        name = sha + suffix
        if not (self.folder / name).is_file():
            with replacing(self.folder / name) as temporary:
                temporary.write_bytes(data)
        return {"path": name, "sha256": sha}


def _with_media(raw: bytes) -> Row | None:
    """Return the canonical row, or None where it has no media or no format reads it."""
    try:
        row = read_row(raw)
    except ValueError:
        return None
    return row if any(row.get(name) for name in COLUMNS.values()) else None


def _name(value: Any) -> str:
    """Return what a value is called, for people; of data the first characters."""
    if isinstance(value, dict):
        value = next((value[key] for key in ADDRESSES if isinstance(value.get(key), str)), "")
    return value[:PROBLEM_MAX_CHARS] if isinstance(value, str) else ""
