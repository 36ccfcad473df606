"""`{{NAME}}` and `{{AUTHOR}}` in a row stand for the name and the maker that the model will say it has."""

import json
import re
from collections.abc import Callable, Sequence

from components.errors import ConfigError

_PLACEHOLDER = re.compile(r"\{\{(NAME|AUTHOR|name|author)\}\}")
_CHINESE = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")


def filler(model_name: Sequence[str], model_author: Sequence[str]) -> Callable[[str, str], str]:
    """Return `fill(text, where)`, which fills the placeholders of a row written as JSON.

    One value serves every row. Of two, the one in Chinese characters is for rows that hold some; where that does not
    tell them apart, the second is.

    Raises:
        ConfigError: (from `fill`) a placeholder has no value; names the row and the flag.
    """
    values = {"name": _by_language(model_name), "author": _by_language(model_author)}

    def fill(text: str, where: str) -> str:
        if "{{" not in text:
            return text
        chinese = _CHINESE.search(text) is not None

        def value(match: re.Match[str]) -> str:
            key = match[1].lower()
            if not values[key]:
                raise ConfigError(
                    f"{where}: {match[0]} has no value; say what it stands for with --model_{key} "
                    f"(--model_{key} '{match[0]}' keeps it as it is)"
                )
            return values[key][chinese]

        return _PLACEHOLDER.sub(value, text)

    return fill


def _by_language(values: Sequence[str]) -> list[str]:
    """The value for other rows and the one for Chinese rows, escaped as inside a JSON string."""
    ordered = sorted(values, key=lambda value: _CHINESE.search(value) is not None)
    escaped = [json.dumps(value, ensure_ascii=False)[1:-1] for value in ordered]
    return [escaped[0], escaped[-1]] if escaped else []
