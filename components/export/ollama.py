"""Ollama's Modelfile of a model: its chat template in Go's template language, system prompt, stop words and sampling.

The template is cut out of conversations that the model's own template renders: what stands before and after each kind
of message. A template in which a message alters more than that cannot be written so, and is refused.
"""

from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from components.errors import ConfigError
from components.files import read_json

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

SYSTEM, USER, ASSISTANT, AGAIN = "\ue000", "\ue001", "\ue002", "\ue003"
"""Texts of the messages, of which a template knows nothing."""
REFUSAL = "--to_ollama: the chat template cannot be written in Ollama's language: {}; serve it with `martlet deploy`"
SAMPLING = {
    "temperature": "temperature", "top_k": "top_k", "top_p": "top_p", "repetition_penalty": "repeat_penalty",
}  # fmt: skip
"""Settings of generation_config.json, and Ollama's names of them."""
Message = dict[str, str]


class Pieces(NamedTuple):
    """What stands around messages: before a conversation without a system prompt, around the system prompt or None
    where the template takes none, around questions and answers, and before the answer that is asked for."""

    begin: str
    system: tuple[str, str] | None
    user: tuple[str, str]
    assistant: tuple[str, str]
    generation: str

    def go(self) -> str:
        """Return the template in Go's language."""
        begin = self.begin
        if self.system:
            before, after = self.system
            begin = f"{{{{ if .System }}}}{before}{{{{ .System }}}}{after}{{{{ else }}}}{begin}{{{{ end }}}}"
        question, answer = ("{{ .Content }}".join(around) for around in (self.user, self.assistant))
        return (
            f'{begin}{{{{ range .Messages }}}}{{{{ if eq .Role "user" }}}}{question}'
            f'{{{{ else if eq .Role "assistant" }}}}{answer}{{{{ end }}}}{{{{ end }}}}{self.generation}'
        )

    def text(self, messages: list[Message]) -> str:
        """Return the prompt of a conversation, as `go` has it."""
        parts = [self.begin]
        for message in messages:
            before, after = {"system": self.system or ("", ""), "user": self.user, "assistant": self.assistant}[
                message["role"]
            ]
            parts.append(before + message["content"] + after)
        if messages[0]["role"] == "system":
            parts[0] = ""
        return "".join([*parts, self.generation])


def modelfile(folder: Path, weights: str, tokenizer: "PreTrainedTokenizerBase", system: str | None) -> str:
    """Return the Modelfile of a model folder.

    Args:
        folder: of the model, whose generation_config.json names stop tokens and sampling.
        weights: what stands behind FROM.
        system: the system prompt of conversations that bring none.

    Raises:
        ConfigError: the chat template cannot be told in Ollama's language, or there is none.
    """
    template = pieces(tokenizer).go()
    file = folder / "generation_config.json"
    settings: dict[str, Any] = read_json(file) if file.is_file() else {}
    ends = settings.get("eos_token_id")
    ends = ends if isinstance(ends, list) else [ends] if ends is not None else []
    lines = [f"FROM {weights}", f'TEMPLATE """{template}"""']
    lines += [f'SYSTEM """{system}"""'] if system else []
    lines += [f'PARAMETER stop "{tokenizer.decode([end])}"' for end in ends]
    lines += [f"PARAMETER {theirs} {settings[ours]}" for ours, theirs in SAMPLING.items() if settings.get(ours)]
    return "\n".join(lines) + "\n"


def pieces(tokenizer: "PreTrainedTokenizerBase") -> Pieces:
    """Return what a chat template writes around messages, proved on conversations of up to two turns.

    Raises:
        ConfigError: there is no template, or these pieces do not make its text.
    """
    if not tokenizer.chat_template:
        raise ConfigError(REFUSAL.format("there is none"))
    user, assistant = {"role": "user", "content": USER}, {"role": "assistant", "content": ASSISTANT}
    again, system = {"role": "user", "content": AGAIN}, {"role": "system", "content": SYSTEM}

    def render(*messages: Message) -> str:
        return str(tokenizer.apply_chat_template([*messages], tokenize=False, add_generation_prompt=True))

    begin, after_question = _around(render(user), USER)
    before_answer, after_answer = _around(_around(render(user, assistant, again), USER)[1], ASSISTANT)
    question_end = _shared(after_question, before_answer)
    before_question = _around(after_answer, AGAIN)[0]
    around_system = _system(render, system, user)
    question_begin = _shared_end(begin, before_question, *(around_system[1:] if around_system else ()))
    parts = Pieces(
        begin.removesuffix(question_begin),
        around_system and (around_system[0], around_system[1].removesuffix(question_begin)),
        (question_begin, question_end),
        (before_answer.removeprefix(question_end), before_question.removesuffix(question_begin)),
        after_question.removeprefix(question_end),
    )
    for chat in ([user], [user, assistant, again], [system, user], [system, user, assistant, again]):
        if (chat[0] is not system or parts.system) and parts.text(chat) != render(*chat):
            raise ConfigError(REFUSAL.format("a message alters what stands around others"))
    if any(mark in "".join(map(str, parts)) for mark in ("{{", "}}", '"""')):
        raise ConfigError(REFUSAL.format("it writes braces or quotes that Ollama reads itself"))
    return parts


def _system(render: Any, system: Message, user: Message) -> tuple[str, str] | None:
    """Return what stands before a system prompt, and between it and a question; None where the template takes none."""
    try:
        text = render(system, user)
    except Exception:  # a template may raise anything to refuse a role
        return None
    if SYSTEM not in text:
        return None
    before, rest = _around(text, SYSTEM)
    return before, _around(rest, USER)[0]


def _around(text: str, content: str) -> tuple[str, str]:
    """Return what stands before and after the content of a message."""
    if text.count(content) != 1:
        raise ConfigError(REFUSAL.format("it does not write each message once"))
    before, _, after = text.partition(content)
    return before, after


def _shared(*texts: str) -> str:
    """Return what all texts begin with."""
    return "".join(places[0] for places in takewhile(lambda places: len({*places}) == 1, zip(*texts, strict=False)))


def _shared_end(*texts: str) -> str:
    """Return what all texts end with."""
    return _shared(*(text[::-1] for text in texts))[::-1]
