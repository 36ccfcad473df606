"""The drift report, for programs (`drift.json`) and for people (`drift.html`, which needs no other file)."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from components.files import write_json, write_text

if TYPE_CHECKING:
    import jinja2


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write `drift.json` and `drift.html` into `folder`; equal reports give equal bytes.

    Args:
        report: what `compare` returns, and as `base` a name for the rows before.
    """
    write_text(folder / "drift.html", _template().render(report=report))
    write_json(folder / "drift.json", report)


@cache
def _template() -> "jinja2.Template":
    import jinja2

    environment = jinja2.Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True)
    environment.undefined = jinja2.StrictUndefined
    return environment.from_string((Path(__file__).parent / "drift.html.jinja").read_text(encoding="utf-8"))
