"""Documents do not lie: recipes and YAML validate, commands parse, links lead somewhere, paths and names of code exist.

What the commands do is held by `tests/pipeline`, which runs the tutorial.
"""

import re
import shlex
from pathlib import Path

import pytest

from apps.cli.main import COMMANDS
from apps.cli.parser import parser_of
from components.config import load, parse, read_flags, read_yaml, resolve

ROOT = Path(__file__).parents[1]
DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")]
RECIPES = sorted(ROOT.glob("recipes/*.yaml"))


def commands(text: str) -> list[list[str]]:
    """The martlet commands in fenced blocks and in back-quotes, as words."""
    blocks = re.findall(r"```shell\n(.*?)```", text, re.DOTALL)
    lines = [line for block in blocks for line in block.replace("\\\n", " ").splitlines()]
    lines += re.findall(r"`(martlet [^`]*)`", text)
    words = [shlex.split(line, comments=True) for line in lines if line.strip().startswith("martlet ")]
    return [w[1:] for w in words if "…" not in " ".join(w) and "COMMAND" not in w]


ALL = [(document.name, words) for document in DOCUMENTS for words in commands(document.read_text())]
ALL += [
    (r.name, shlex.split(c)[1:]) for r in RECIPES for c in re.findall(r"(martlet [^.\n]*(?:\.yaml)?)", r.read_text())
]


def test_there_are_commands_to_check() -> None:
    assert len(ALL) > 15


@pytest.mark.parametrize(("where", "words"), ALL, ids=[f"{where}: {' '.join(words)[:50]}" for where, words in ALL])
def test_commands_parse(where: str, words: list[str]) -> None:
    from importlib import import_module

    name, *rest = words
    if name.startswith("--"):
        return
    assert name in {known for group in COMMANDS.values() for known in group}
    parser = parser_of(name, import_module(f"apps.cli.{name.replace('-', '_')}"))
    if "--help" not in rest:
        _, values = parse(parser, rest)
        resolve(read_flags(values))


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.name)
def test_recipes_validate_and_have_a_header(recipe: Path) -> None:
    resolve(read_yaml(ROOT / "params.yaml"), read_yaml(recipe))
    header = recipe.read_text().split("\n\n")[0]
    assert "Needs:" in header
    assert "Command: martlet run" in header
    assert "Expect:" in header


def test_the_default_parameters_validate() -> None:
    load(ROOT / "params.yaml")


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_links_lead_somewhere(document: Path) -> None:
    for target, heading in re.findall(r"\]\(([^)#:]*)(?:#([\w-]+))?\)", document.read_text()):
        file = document.parent / target if target else document
        assert file.exists(), target
        assert not heading or heading in headings(file.read_text()), f"{target}#{heading}"


def headings(text: str) -> set[str]:
    """The headings of a page, as links name them."""
    titles = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title).lower().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_parameters_in_yaml_validate(document: Path, tmp_path: Path) -> None:
    file = tmp_path / "params.yaml"
    for block in re.findall(r"```yaml\n(.*?)```", document.read_text(), re.DOTALL):
        if not block.startswith("-"):  # an entry of the catalogue, which tests of its own check
            file.write_text(block)
            load(file)


def code_names(text: str) -> set[tuple[str, str]]:
    """The paths of the repository in back-quotes, each with the name behind a colon: `tasks/plan.py:Pipeline`."""
    folders = "apps|benchmarks|components|docs|examples|flows|recipes|tasks|tests"
    return set(re.findall(rf"`((?:{folders})/[\w./-]*)(?::([\w.]+))?`", text))


NAMES = sorted({(d.name, *pair) for d in DOCUMENTS for pair in code_names(d.read_text())})


@pytest.mark.parametrize(("where", "path", "name"), NAMES, ids=[f"{w}: {p}:{n}" for w, p, n in NAMES])
def test_paths_and_names_of_code_exist(where: str, path: str, name: str) -> None:
    assert (ROOT / path).exists()
    if name:
        defined = re.compile(rf"^(?:(?:def|class) {name}\b|{name}\b.* = )", re.MULTILINE)
        assert defined.search((ROOT / path).read_text()), f"{path} defines no {name}"
