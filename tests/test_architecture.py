"""Imports as they stand in the source: none in a circle, and all that a stage runs among its `deps` in dvc.yaml.

Files are parsed, never imported. Imports inside functions count, those under `if TYPE_CHECKING` do not.
"""

import ast
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path, PurePosixPath

import pytest
from ruamel.yaml import YAML

ROOT = Path(__file__).parents[1]
PACKAGES = ("apps", "flows", "tasks", "components")
INFRASTRUCTURE = (
    "components/__init__.py", "components/_torchvision.py", "components/errors.py", "components/files.py",
    "components/parallel.py", "components/cache.py", "components/plugins.py", "components/leash.py",
    "components/environments", "components/config", "components/hub", "tasks/stages/runner.py",
    "tasks/stages/paths.py", "tasks/stages/environment.py",
)  # fmt: skip
"""Code that may change without changing a result: the groups of parameters are deps of their own, and what the hub
brings is named by content in data/model.json and data/raw."""
METHODS = (
    "components/data/checks", "components/data/formats", "components/data/readers", "components/data/set_checks",
    "components/export/quantizers",
    "components/inference/engines", "components/models/quantization", "components/templates/loss_scale",
    "components/training/callbacks", "components/training/methods", "components/training/optimizers",
    "components/tuners",
)  # fmt: skip
"""Folders with one file per method, found by `components.plugins.Kind`; a stage hashes the file of its method."""
FILES = {file.relative_to(ROOT).as_posix() for package in PACKAGES for file in (ROOT / package).rglob("*.py")}
STAGES = YAML(typ="safe").load((ROOT / "dvc.yaml").read_text(encoding="utf-8"))["stages"]


def file_of(module: str) -> str | None:
    """Return the source file of a dotted module name, or None if the module is not ours."""
    path = module.replace(".", "/")
    return next((file for file in (f"{path}.py", f"{path}/__init__.py") if file in FILES), None)


@cache
def parsed(file: str) -> ast.Module:
    return ast.parse((ROOT / file).read_text(encoding="utf-8"))


def import_nodes(node: ast.AST) -> Iterator[ast.Import | ast.ImportFrom]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child
        elif isinstance(child, ast.expr):
            continue
        elif isinstance(child, ast.If) and ast.unparse(child.test).endswith("TYPE_CHECKING"):
            for statement in child.orelse:
                yield from import_nodes(ast.Module([statement], []))
        else:
            yield from import_nodes(child)


@cache
def imports(file: str) -> frozenset[str]:
    """Return the files of ours that `file` imports: for `from package import name`, the module of that name if there
    is one, else the package's `__init__`."""
    modules: list[str | None] = []
    for node in import_nodes(parsed(file)):
        if isinstance(node, ast.Import):
            modules += [file_of(alias.name) for alias in node.names]
        else:
            base = node.module or ""
            if node.level:
                package = PurePosixPath(file).parents[node.level - 1].as_posix().replace("/", ".")
                base = f"{package}.{base}".rstrip(".")
            modules += [file_of(f"{base}.{alias.name}") or file_of(base) for alias in node.names]
    return frozenset(module for module in modules if module)


def circles(graph: dict[str, Iterable[str]]) -> list[list[str]]:
    """Return the groups of files that import each other in a circle: the strongly connected components of `graph` with
    more than one file (Tarjan 1972), sorted."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    groups: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph[node]:
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            at = stack.index(node)
            if len(stack) - at > 1:
                groups.append(sorted(stack[at:]))
            del stack[at:]

    for node in sorted(graph):
        if node not in index:
            visit(node)
    return sorted(groups)


def is_below(file: str, paths: Iterable[str]) -> bool:
    return any(file == path or file.startswith(f"{path}/") for path in paths)


def is_method(file: str) -> bool:
    path = PurePosixPath(file)
    return path.parent.as_posix() in METHODS and not path.name.startswith("_")


@cache
def loaded(file: str) -> set[str]:
    """Return the files that importing `file` may import next: its imports, the `__init__` of the packages above it,
    and for a package of methods every method."""
    folder = PurePosixPath(file).parent
    above = {f"{parent}/__init__.py" for parent in folder.parents if parent.name} | {f"{folder}/__init__.py"}
    methods = {other for other in FILES if is_method(other) and PurePosixPath(other).parent == folder}
    return {*imports(file), *(above & FILES), *methods}


def has_code(file: str) -> bool:
    """Return whether a file holds anything besides a docstring and comments."""
    return any(not isinstance(node, ast.Expr) for node in parsed(file).body)


def missing_deps(stage: str) -> list[str]:
    """Return the files that a stage's module imports, directly or through others, and its `deps` do not cover."""
    entry = STAGES[stage].get("do", STAGES[stage])
    name = entry["cmd"].removeprefix("python -m tasks.stages ").split()[0]
    reached, waiting = set[str](), [f"tasks/stages/{name}.py"]
    while waiting:
        file = waiting.pop()
        if file not in reached and not is_below(file, INFRASTRUCTURE):
            reached.add(file)
            waiting += loaded(file)
    code = (file for file in reached if is_below(file, ("components", "tasks/stages")) and has_code(file))
    return sorted(file for file in code if not is_method(file) and not is_below(file, entry["deps"]))


def test_a_circle_is_seen() -> None:
    graph = {"a": ["b"], "b": ["c"], "c": ["a"], "d": ["a", "e"], "e": []}
    assert circles(graph) == [["a", "b", "c"]]


def test_imports_in_functions_are_seen() -> None:
    tree = ast.parse("if TYPE_CHECKING:\n    import a\nelse:\n    import b\ndef f():\n    import c")
    assert [node.names[0].name for node in import_nodes(tree)] == ["b", "c"]


def test_no_files_import_each_other_in_a_circle() -> None:
    groups = circles({file: sorted(imports(file)) for file in FILES})
    assert not groups, "imports in a circle:\n" + "\n".join("  " + ", ".join(group) for group in groups)


@pytest.mark.parametrize("stage", [name for name, stage in STAGES.items() if not stage.get("always_changed")])
def test_deps_cover_the_imports(stage: str) -> None:
    missing = missing_deps(stage)
    assert not missing, f"dvc.yaml, stage {stage}: add to `deps`, or a folder above:\n  " + "\n  ".join(missing)
