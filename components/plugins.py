"""Methods as files: ours, a user's and an installed package's, found by one mechanism.

    TUNERS = Kind("tuner", "tuner_type", "components.tuners", Tuner)
    TUNERS.names()                                    # ["adalora", "adapter", …]
    TUNERS.load("lora")                               # the module components.tuners.lora
    TUNERS.load("mine", external=[Path("mine.py")])   # the user's file, checked like ours

A method is a module that defines every member of its kind's Protocol. The module's file name is the method's name, in
which dashes and underscores mean the same (`bnb-int8` is bnb_int8.py); files that begin with an underscore are shared
code. A user's file belongs to every kind whose Protocol it fulfils, and is taken before our file of the same name. An
installed package offers a module under the entry-point group `martlet.<kind>`.

What a method goes together with, its file declares as constants (`TUNERS = ("full",)`), which are read before anything
is imported.
"""

import ast
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.metadata import EntryPoint, distributions
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, TypeVar

from typing_extensions import get_protocol_members

from components.errors import ConfigError, did_you_mean

Method = TypeVar("Method")
MODULE_PREFIX = "martlet_plugin_"
"""How the names begin under which users' files are imported."""


@dataclass(frozen=True)
class Kind(Generic[Method]):
    """One kind of method: a noun for messages, the parameter that names a method, the package with our files, the
    Protocol that every method fulfils, and what stands between the words of the names that messages list."""

    name: str
    parameter: str
    package: str
    protocol: type[Method]
    separator: str = "_"

    def names(self, external: Sequence[Path] = ()) -> list[str]:
        """Return the names of all methods of this kind, sorted."""
        ours = (file.stem for file in _folder(self.package).glob("*.py") if not file.stem.startswith("_"))
        users = (file.stem for file in external if not self._missing(_from_file(file)))
        stems = (stem.replace("-", "_") for stem in (*ours, *users))
        return sorted({stem.replace("_", self.separator) for stem in stems} | set(self._offered()))

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
        if misfits := self._misfits(module):
            raise ConfigError(f"{module.__file__}: not a {self.name}: {', '.join(misfits)}")
        return module  # type: ignore[return-value]

    def has(self, name: str, external: Sequence[Path] = ()) -> bool:
        """Return whether there is a method of this name; a user's file is imported if it has the name."""
        return name.replace("-", "_") in (known.replace("-", "_") for known in self.names(_named(name, external)))

    def file(self, name: str, external: Sequence[Path] = ()) -> Path:
        """Return the source file of a method, which is imported only where a user's file has the name of one of ours.

        Raises:
            ConfigError: there is no such method.
        """
        stem = name.replace("-", "_")
        ours = _folder(self.package) / f"{stem}.py"
        is_ours = stem.isidentifier() and not stem.startswith("_") and ours.is_file()
        for file in _named(name, external):
            if not is_ours or not self._missing(_from_file(file)):  # a file of another kind may share a name of ours
                return file
        if name in self._offered():
            return Path(str(importlib.util.find_spec(self._offered()[name]).origin))  # type: ignore[union-attr]
        if is_ours:
            return ours
        names = self.names(external)
        advice = f"choose one of {', '.join(names)}" if names else f"give its file: --external_plugins {stem}.py"
        raise ConfigError(f"{self.parameter}: there is no {self.name} '{name}'{did_you_mean(name, names)}; {advice}")

    def constant(self, name: str, constant: str, default: Any, external: Sequence[Path] = ()) -> Any:
        """Return a constant that a method's file declares at its top, or `default`; the file is not imported.

        Raises:
            ConfigError: there is no such method, or the constant is computed.
        """
        file = self.file(name, external)
        for node in ast.parse(file.read_bytes()).body:
            if isinstance(node, ast.Assign) and any(isinstance(t, ast.Name) and t.id == constant for t in node.targets):
                try:
                    return ast.literal_eval(node.value)
                except ValueError:
                    raise ConfigError(
                        f"{file}:{node.lineno}: {constant} is read without running the file; write its value"
                    ) from None
        return default

    def _offered(self) -> dict[str, str]:
        """Name to module of the methods that installed packages offer."""
        group = f"martlet.{self.name.replace(' ', '_')}"
        return {point.name: point.value for point in _entry_points() if point.group == group}

    def _missing(self, module: ModuleType) -> list[str]:
        return sorted(name for name in get_protocol_members(self.protocol) if not hasattr(module, name))

    def _misfits(self, module: ModuleType) -> list[str]:
        """Return which functions cannot be called with the Protocol's arguments, and what these are."""
        faults = []
        for name in sorted(get_protocol_members(self.protocol)):
            if function := inspect.getattr_static(self.protocol, name, None):
                parameters = list(inspect.signature(function).parameters.values())[1:]  # without `self`
                try:
                    inspect.signature(getattr(module, name)).bind(*parameters)
                except TypeError:
                    faults.append(f"`{name}` takes ({', '.join(parameter.name for parameter in parameters)})")
        return faults


@cache
def _entry_points() -> list[EntryPoint]:
    """Return what all installed packages offer to Martlet; their files are read once."""
    points = (point for distribution in distributions() for point in distribution.entry_points)
    return [point for point in points if point.group.startswith("martlet.")]


def _folder(package: str) -> Path:
    return Path(str(importlib.import_module(package).__file__)).parent


def _named(name: str, external: Sequence[Path]) -> list[Path]:
    """Return the user's files that have the name of a method."""
    return [file for file in external if file.stem.replace("-", "_") == name.replace("-", "_")]


def _from_file(file: Path) -> ModuleType:
    """Import a user's file once, and again after an edit.

    Raises:
        ConfigError: it is not there, or raises; the message names the line.
    """
    if not file.is_file():
        raise ConfigError(f"external_plugins: {file}: no such file")
    return _imported(file, file.read_bytes())


@cache
def _imported(file: Path, _source: bytes) -> ModuleType:
    name = f"{MODULE_PREFIX}{file.stem}"
    spec = importlib.util.spec_from_file_location(name, file)
    if spec is None or spec.loader is None:
        raise ConfigError(f"external_plugins: {file}: not a Python file (.py)")
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        place = where(error, file) or file
        raise ConfigError(f"external_plugins: {place}: {type(error).__name__}: {error}") from error
    return module


def where(error: BaseException, *files: Path) -> str | None:
    """Return `FILE:LINE` of the last frame of `error` that lies in one of `files`, or None where none does."""
    names = set(map(str, files))
    if isinstance(error, SyntaxError) and error.filename in names:
        return f"{error.filename}:{error.lineno}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename in names]
    return f"{frames[-1].filename}:{frames[-1].lineno}" if frames else None


def fault(error: BaseException) -> str | None:
    """Return `FILE:LINE: Error: message` where `error` came out of a user's file, or None."""
    files = [Path(str(module.__file__)) for name, module in sys.modules.items() if name.startswith(MODULE_PREFIX)]
    place = where(error, *files)
    reason = (str(error).strip().splitlines() or ["no message"])[0]
    return f"external_plugins: {place}: {type(error).__name__}: {reason}" if place else None
