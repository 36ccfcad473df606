import io
import os
import pty
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from components.errors import ConfigError
from components.inference import GenerationConfig, chat, infer_dataset
from components.inference.chat import Chat
from tests.components.inference.local import user

GREEDY = GenerationConfig(max_new_tokens=12, temperature=0, stream=True)


def answer(engine: Any, messages: list[dict[str, Any]]) -> str:
    return engine.submit(engine.encode_chat(messages), GREEDY).result(60).text


@pytest.mark.parametrize("stream", [True, False])
def test_piped_lines_are_conversations_of_their_own(engine: Any, stream: bool) -> None:
    out = io.StringIO()
    chat(engine, "You are kind", GREEDY, stream=stream, stdin=io.StringIO("hello\n\nwhat\n/exit\nunread\n"), stdout=out)
    system = {"role": "system", "content": "You are kind"}
    expected = [answer(engine, [system, *user(question)]) for question in ("hello", "what")]
    assert out.getvalue() == "".join(f"{text}\n\n" for text in expected)


def test_piped_mistakes_go_to_standard_error(engine: Any, capsys: pytest.CaptureFixture[str]) -> None:
    out = io.StringIO()
    chat(engine, None, GREEDY, stdin=io.StringIO("/cleer\n" + "long " * 2000 + "\n/retry\n"), stdout=out)
    errors = capsys.readouterr().err.splitlines()
    assert out.getvalue() == "\n\n"  # the question's answer has its place
    assert errors[0] == "unknown command /cleer (did you mean '/clear'?); /help lists the commands"
    assert "the model's context is 1024 tokens" in errors[1]
    assert errors[2] == "nothing to retry"


def test_a_conversation_remembers_and_forgets(engine: Any) -> None:
    talk = Chat(engine, None, GREEDY)
    first = "".join(talk.answer("hello"))
    assert first == answer(engine, user("hello"))
    second = "".join(talk.answer("what"))
    assert second == answer(engine, [*user("hello"), {"role": "assistant", "content": first}, *user("what")])
    assert talk.undo() == "what"
    assert talk.history == [*user("hello"), {"role": "assistant", "content": first}]
    assert talk.command("/system You are kind") == "system message: You are kind; the conversation is cleared"
    assert talk.history == []
    assert "".join(talk.answer("hello")) == answer(
        engine, [{"role": "system", "content": "You are kind"}, *user("hello")]
    )
    talk.command("/clear")
    assert (talk.undo(), talk.system) == (None, "You are kind")


def test_an_interrupted_answer_is_remembered_as_far_as_it_came(engine: Any) -> None:
    talk = Chat(engine, None, GenerationConfig(max_new_tokens=500, temperature=0))
    pieces = talk.answer("hello")
    start = next(pieces)
    pieces.close()
    assert talk.history[-1] == {"role": "assistant", "content": start}


def test_settings_are_set_by_name(engine: Any) -> None:
    talk = Chat(engine, None, GREEDY)
    assert talk.command("/set temperature 0.7") == "temperature = 0.7"
    assert talk.command("/set top_k 5") == "top_k = 5"
    assert talk.command("/set stop_words a b") == "stop_words = ['a', 'b']"
    assert (talk.generation.temperature, talk.generation.top_k, talk.generation.max_new_tokens) == (0.7, 5, 12)
    for line, message in {
        "/set temprature 1": r"unknown setting 'temprature' \(did you mean 'temperature'\?\)",
        "/set temperature warm": "temperature takes a number, not 'warm'",
        "/set top_k 1.5": "top_k takes a whole number",
        "/set temperature -1": "temperature must be between",
    }.items():
        with pytest.raises(ConfigError, match=message):
            talk.command(line)
    assert "top_p = None" in talk.command("/set")


class Terminal:
    """A program at a pseudo-terminal."""

    def __init__(self, code: str):
        self.fd, inside = pty.openpty()
        environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
        self.program = subprocess.Popen(
            [sys.executable, "-c", code], stdin=inside, stdout=inside, stderr=inside, env=environment,
            start_new_session=True, preexec_fn=lambda: os.close(os.open(os.ttyname(inside), os.O_RDWR)),
        )  # fmt: skip
        os.close(inside)
        self.seen = ""

    def until(self, text: str) -> str:
        """Read up to `text` and return what came before it."""
        while text not in self.seen:
            self.seen += os.read(self.fd, 65536).decode(errors="replace")
        before, _, self.seen = self.seen.partition(text)
        return before

    def type(self, text: str) -> None:
        os.write(self.fd, text.encode())


@pytest.fixture
def terminal(lively_model: Path) -> Iterator[Terminal]:
    terminal = Terminal(
        "from pathlib import Path\n"
        "from components.inference import GenerationConfig, chat\n"
        "from tests.components.inference.local import local_engine\n"
        f"engine = local_engine(Path({str(lively_model)!r}))\n"
        "settings = GenerationConfig(temperature=0, stream=True, stop_words=['\\n\\n\\n\\n'])\n"
        "chat(engine, None, settings, about='the lively model')\n"
        "engine.close(); print('the end')"
    )
    yield terminal
    terminal.program.kill()
    terminal.program.wait()
    os.close(terminal.fd)


def test_at_a_terminal(terminal: Terminal) -> None:
    assert "the lively model; /help lists the commands, exit ends the chat" in terminal.until("<<< ")
    terminal.type("hello\n")
    terminal.until("hello")
    time.sleep(1)  # some of the answer comes; all of it would take longer
    terminal.program.send_signal(signal.SIGINT)
    assert len(terminal.until("(stopped)")) > 10
    terminal.until("<<< ")
    terminal.type("/undo\n")
    terminal.until("the last question and answer are removed")
    terminal.until("<<< ")
    terminal.type("/hlep\n")
    terminal.until("unknown command /hlep (did you mean '/help'?)")
    terminal.until("<<< ")
    time.sleep(0.3)  # readline misses a signal between printing the prompt and waiting for input
    terminal.program.send_signal(signal.SIGINT)
    terminal.until("(ctrl-D or /exit ends the chat)")
    terminal.until("<<< ")
    terminal.type("\x04")
    terminal.until("the end")
    assert terminal.program.wait(10) == 0


def test_a_data_set_is_answered_in_order(engine: Any) -> None:
    gold = [{"role": "assistant", "content": "gold"}]
    rows = [{"messages": [*user(f"hello {i}"), *(gold if i % 2 else [])]} for i in range(70)]
    results = list(infer_dataset(engine, iter(rows), GREEDY))
    assert [result["messages"][0] for result in results] == [row["messages"][0] for row in rows]
    assert [result["labels"] for result in results[:2]] == [None, "gold"]
    for i in (0, 33, 69):
        assert results[i]["response"] == answer(engine, user(f"hello {i}"))
        assert results[i]["messages"][-1] == {"role": "assistant", "content": results[i]["response"]}


def test_a_row_that_cannot_be_answered_does_not_lose_the_answers_of_the_others(engine: Any) -> None:
    rows = [{"messages": user(text)} for text in ("a", "long " * 2000, "b")]
    one, long_, other = infer_dataset(engine, rows, GREEDY)
    assert (one["response"], other["response"]) == (answer(engine, user("a")), answer(engine, user("b")))
    assert long_["response"] is None and "context is 1024" in long_["error"]


@pytest.mark.parametrize("word", ["exit", "quit", "/exit", "/quit"])
def test_a_word_ends_the_chat_at_a_terminal(engine: Any, word: str) -> None:
    class Keyboard(io.StringIO):
        def isatty(self) -> bool:
            return True

    keyboard, screen = Keyboard(f"{word}\nhello\n"), io.StringIO()
    chat(engine, None, GREEDY, stdin=keyboard, stdout=screen)
    assert keyboard.read() == "hello\n"


def test_a_piped_line_may_be_any_word(engine: Any) -> None:
    screen = io.StringIO()
    chat(engine, None, GREEDY, stdin=io.StringIO("quit\n"), stdout=screen)
    assert screen.getvalue().strip() == answer(engine, user("quit")).strip()
