"""Modelfiles: the template in Go's language gives the text of the model's own template."""

import re
from pathlib import Path

import pytest

from components.errors import ConfigError
from components.export.ollama import modelfile, pieces
from components.files import write_json
from tests.components.templates.styles import STYLES, tokenizer

CHATS = [
    [{"role": "user", "content": "Rain?"}],
    [
        {"role": "user", "content": "Rain?"},
        {"role": "assistant", "content": "No."},
        {"role": "user", "content": "Why?"},
    ],
]
CHATS += [[{"role": "system", "content": "Be brief."}, *chat] for chat in CHATS]
REFUSED = {"mistral, last user's system"}


def rendered_as_ollama_does(template: str, messages: list[dict[str, str]]) -> str:
    """The part of Go's template language that Modelfiles of ours use."""
    match = re.fullmatch(r"(.*)\{\{ range \.Messages \}\}(.*)\{\{ end \}\}(.*)", template, re.DOTALL)
    assert match
    begin, body, generation = match.groups()
    system = next((m["content"] for m in messages if m["role"] == "system"), "")
    if choice := re.fullmatch(r"\{\{ if \.System \}\}(.*)\{\{ else \}\}(.*)\{\{ end \}\}", begin, re.DOTALL):
        begin = choice[1].replace("{{ .System }}", system) if system else choice[2]
    roles = re.fullmatch(
        r'\{\{ if eq \.Role "user" \}\}(.*)\{\{ else if eq \.Role "assistant" \}\}(.*)\{\{ end \}\}', body, re.DOTALL
    )
    assert roles
    around = {"user": roles[1], "assistant": roles[2], "system": ""}
    return begin + "".join(around[m["role"]].replace("{{ .Content }}", m["content"]) for m in messages) + generation


@pytest.mark.parametrize("style", sorted(STYLES))
def test_the_template_gives_the_text_of_the_models_own_or_is_refused(style: str) -> None:
    tok = tokenizer(STYLES[style])
    try:
        template = pieces(tok)
    except ConfigError as error:
        assert "cannot be written in Ollama's language" in str(error)
        assert style in REFUSED
        return
    assert style not in REFUSED
    for chat in CHATS:
        if template.system or chat[0]["role"] != "system":
            expected = tok.apply_chat_template(chat, tokenize=False, add_generation_prompt=True)
            assert rendered_as_ollama_does(template.go(), chat) == expected


def test_a_modelfile_has_weights_system_prompt_stop_words_and_sampling(tmp_path: Path) -> None:
    tok = tokenizer(STYLES["chatml"])
    ends = [tok.eos_token_id, tok.convert_tokens_to_ids("<|im_end|>")]
    settings = {"eos_token_id": ends, "temperature": 0.6, "top_k": 20, "top_p": 0.95, "repetition_penalty": 1.1}
    write_json(tmp_path / "generation_config.json", settings)
    lines = modelfile(tmp_path, "/models/mine", tok, "Be kind.").splitlines()
    assert lines[0] == "FROM /models/mine"
    assert 'SYSTEM """Be kind."""' in lines
    assert [line for line in lines if line.startswith("PARAMETER")] == [
        *(f'PARAMETER stop "{tok.decode([end])}"' for end in ends),
        "PARAMETER temperature 0.6",
        "PARAMETER top_k 20",
        "PARAMETER top_p 0.95",
        "PARAMETER repeat_penalty 1.1",
    ]
    plain = modelfile(tmp_path / "none", "/models/mine", tok, None)
    assert "SYSTEM" not in plain
    assert "PARAMETER" not in plain


def test_what_ollama_would_read_itself_is_refused() -> None:
    braces = "{% for m in messages %}{{ '{{' }}{{ m.role }}: {{ m.content }}\n{% endfor %}"
    with pytest.raises(ConfigError, match="braces or quotes that Ollama reads itself"):
        pieces(tokenizer(braces))
    with pytest.raises(ConfigError, match="there is none"):
        pieces(tokenizer(None))
    twice = "{% for m in messages %}{{ m.content }}{{ m.content }}{% endfor %}"
    with pytest.raises(ConfigError, match="does not write each message once"):
        pieces(tokenizer(twice))
