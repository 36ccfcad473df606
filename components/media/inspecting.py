"""Facts of many media, looked up in processes of their own, so that a file that breaks or never ends stops nobody."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

from components.errors import ConfigError
from components.media.facts import Facts, facts_of, thumbnail
from components.media.kinds import Medium
from components.parallel import threaded

SECONDS = 60.0
"""Seconds after which a file is given up."""


class Inspector:
    """Looks into the files of media, each content once.

    Args:
        folder: of media whose path is relative.
        count: processes at work.
        seconds: in which a file is read, or it cannot be read.
    """

    def __init__(self, folder: Path, count: int = 1, seconds: float = SECONDS) -> None:
        self.folder, self.count, self.seconds = folder, count, seconds
        self.by_content: dict[tuple[str, str], Facts] = {}
        self._idle: list[_Reader] = []
        self._owner = os.getpid()

    def facts(self, media: Iterable[Medium]) -> list[Facts]:
        """Return the facts of media that are one file each and have a hash.

        Raises:
            ConfigError: PyAV is needed, and not installed.
        """
        media = [*media]
        new = {(m.kind, m.sha256): m for m in media if (m.kind, m.sha256) not in self.by_content}
        facts = threaded(self._facts, [*new.values()], self.count)
        self.by_content.update(zip(new, facts, strict=True))
        return [self.by_content[m.kind, m.sha256] for m in media]

    def thumbnail(self, medium: Medium, size: int) -> str:
        """Return a small picture of a picture or a video as a data URL; "" where there is none."""
        return self._ask(medium, size).get("thumbnail", "")

    def close(self) -> None:
        """End the processes that read."""
        if self._owner == os.getpid():
            for reader in self._idle:
                reader.end()
        self._idle.clear()

    def _facts(self, medium: Medium) -> Facts:
        answer = self._ask(medium)
        return Facts(**answer["facts"]) if "facts" in answer else Facts(error=answer["error"])

    def _ask(self, medium: Medium, size: int = 0) -> dict[str, Any]:
        if self._owner != os.getpid():  # a fork: its parent's readers are not its own
            self._idle, self._owner = [], os.getpid()
        reader = self._idle.pop() if self._idle else _Reader()
        answer = reader.ask([*medium[:3], str(self.folder), size, self.seconds])
        if answer is None:
            reader.end()
            return {"error": f"takes more than {self.seconds:g} seconds to read, or ends the process that reads it"}
        self._idle.append(reader)
        if "config" in answer:
            raise ConfigError(answer["config"])
        return answer


class _Reader:
    """A process that answers one question at a time."""

    def __init__(self) -> None:
        paths = [str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "components.media.inspecting"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=os.environ | {"PYTHONPATH": os.pathsep.join(paths)},
        )

    def ask(self, question: Any) -> dict[str, Any] | None:
        """Return the answer, or None where there is none."""
        assert self.process.stdin and self.process.stdout
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
            return json.loads(self.process.stdout.readline())
        except (OSError, ValueError):
            return None

    def end(self) -> None:
        """End the process."""
        assert self.process.stdin and self.process.stdout
        self.process.kill()
        self.process.wait()
        self.process.stdout.close()
        with suppress(OSError):  # what it was asked is not written any more
            self.process.stdin.close()


def _answer(question: Any) -> dict[str, Any]:
    kind, path, sha, folder, size, seconds = question
    medium = Medium(kind, path, sha)
    signal.setitimer(signal.ITIMER_REAL, seconds)  # its signal ends this process
    try:
        if size:
            return {"thumbnail": thumbnail(medium, Path(folder), size)}
        return {"facts": facts_of(medium, Path(folder))._asdict()}
    except ConfigError as error:
        return {"config": str(error)}
    except Exception as error:  # whatever a damaged file makes of a library
        return {"error": f"cannot be read ({type(error).__name__})"}
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


if __name__ == "__main__":
    for line in sys.stdin:
        print(json.dumps(_answer(json.loads(line))), flush=True)
