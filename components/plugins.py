"""Methods as files: ours, a user's and an installed package's, found by one mechanism.

    TUNERS = Kind("tuner", "tuner_type", "components.tuners", Tuner)
    TUNERS.names()                                    # ["dora", "full", "ia3", "lora"]
    TUNERS.load("lora")                               # the module components.tuners.lora
    TUNERS.load("mine", external=[Path("mine.py")])   # the user's file, checked like ours

A method is a module that defines every member of its kind's Protocol. The module's file name is the method's name
(`bnb-int8` is bnb_int8.py); files that begin with an underscore are shared code. A user's file belongs to every kind
whose Protocol it fulfils, and is taken before our file of the same name. An installed package offers a module under the
entry-point group `martlet.<kind>`.
"""

import importlib
import importlib.util
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Generic, TypeVar

from typing_extensions import get_protocol_members

from components.errors import ConfigError, did_you_mean

Method = TypeVar("Method")


@dataclass(frozen=True)
class Kind(Generic[Method]):
    """One kind of method: a noun for messages, the parameter that names a method, the package with our files, and the
    Protocol that every method fulfils."""

    name: str
    parameter: str
    package: str
    protocol: type[Method]

    def names(self, external: Sequence[Path] = ()) -> list[str]:
        """Return the names of all methods of this kind, sorted."""
        ours = (file.stem for file in _folder(self.package).glob("*.py") if not file.stem.startswith("_"))
        users = (file.stem for file in external if not self._missing(_from_file(file)))
        return sorted({stem.replace("_", "-") for stem in (*ours, *users)} | set(self._offered()))

    def load(self, name: str, external: Sequence[Path] = ()) -> Method:
        """Return the module of a method.

        Raises:
            ConfigError: there is no such method, its file cannot be imported, or it lacks a member of the Protocol.
        """
        file = self.file(name, external)
        if file in external:
            module = _from_file(file)
        else:
            module = importlib.import_module(self._offered().get(name) or f"{self.package}.{file.stem}")
        if missing := self._missing(module):
            raise ConfigError(f"{module.__file__}: not a complete {self.name}: `{'`, `'.join(missing)}` missing")
        return module  # type: ignore[return-value]

    def file(self, name: str, external: Sequence[Path] = ()) -> Path:
        """Return the source file of a method, which is imported only where a user's file has the name of one of ours.

        Raises:
            ConfigError: there is no such method.
        """
        stem = name.replace("-", "_")
        files = [file for file in external if file.stem.replace("-", "_") == stem]
        ours = _folder(self.package) / f"{stem}.py"
        is_ours = stem.isidentifier() and not stem.startswith("_") and ours.is_file()
        for file in files:
            if not is_ours or not self._missing(_from_file(file)):  # a file of another kind may share a name of ours
                return file
        if name in self._offered():
            return Path(str(importlib.util.find_spec(self._offered()[name]).origin))  # type: ignore[union-attr]
        if is_ours:
            return ours
        names = self.names(external)
        raise ConfigError(
            f"{self.parameter}: there is no {self.name} '{name}'{did_you_mean(name, names)}; "
            f"choose one of {', '.join(names)}"
        )

    def _offered(self) -> dict[str, str]:
        """Name to module of the methods that installed packages offer."""
        group = f"martlet.{self.name.replace(' ', '_')}"
        return {point.name: point.value for point in _entry_points() if point.group == group}

    def _missing(self, module: ModuleType) -> list[str]:
        return sorted(name for name in get_protocol_members(self.protocol) if not hasattr(module, name))


@cache
def _entry_points() -> list[EntryPoint]:
    """Return what all installed packages offer to Martlet; their files are read once."""
    points = (point for distribution in distributions() for point in distribution.entry_points)
    return [point for point in points if point.group.startswith("martlet.")]


def _folder(package: str) -> Path:
    return Path(str(importlib.import_module(package).__file__)).parent


@cache
def _from_file(file: Path) -> ModuleType:
    """Import a user's file once.

    Raises:
        ConfigError: it is not there, or raises; the message names the line.
    """
    if not file.is_file():
        raise ConfigError(f"external_plugins: {file}: no such file")
    name = f"martlet_plugin_{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"external_plugins: {file}: not a Python file (.py)")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise ConfigError(f"external_plugins: {where(error, file)}: {type(error).__name__}: {error}") from error
    return module


def where(error: BaseException, file: Path) -> str:
    """Return `FILE:LINE` of the last frame of `error` that lies in `file`, or FILE where none does."""
    if isinstance(error, SyntaxError) and error.filename == str(file):
        return f"{file}:{error.lineno}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(file)]
    return f"{file}:{lines[-1]}" if lines else str(file)
