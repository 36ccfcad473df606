from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.inference.detokenize import TextStream


@pytest.fixture(scope="session")
def tokenizer(tiny_model: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(tiny_model)


def streamed(decode: Any, ids: list[int], stop: list[str]) -> tuple[list[str], str, bool]:
    pieces: list[str] = []
    stream = TextStream(decode, stop, pieces.append)
    for token in ids:
        if stream.push(token):
            break
    return pieces, stream.close(), stream.stopped


@given(st.text())
def test_any_text_survives_token_by_token(tokenizer: Any, text: str) -> None:
    ids = tokenizer(text)["input_ids"]
    pieces, whole, _ = streamed(tokenizer.decode, ids, [])
    assert "".join(pieces) == whole == text.rstrip("\ufffd")


def test_no_piece_holds_half_a_character(tokenizer: Any) -> None:
    text = "naïve 🦜🏳️‍🌈 家 e\u0301"
    ids = tokenizer(text)["input_ids"]
    assert len(ids) > len(text)  # characters are split over tokens
    pieces, _, _ = streamed(tokenizer.decode, ids, [])
    assert not any("\ufffd" in piece for piece in pieces)
    cut = tokenizer("ok 🦜")["input_ids"][:-1]
    assert tokenizer.decode(cut).endswith("\ufffd")
    assert streamed(tokenizer.decode, cut, [])[1] == "ok "


def test_bytes_that_are_no_character_do_not_stop_the_stream(tokenizer: Any) -> None:
    half = tokenizer("🦜")["input_ids"][:1]
    ids = tokenizer("a")["input_ids"] + half + tokenizer("b")["input_ids"] + half + tokenizer("cd")["input_ids"]
    assert streamed(tokenizer.decode, ids, [])[1] == tokenizer.decode(ids) == "a\ufffdb\ufffdcd"


letters = st.text("abc", max_size=20)


@given(letters, st.lists(st.text("abc", min_size=1, max_size=4), max_size=3), st.data())
def test_a_stop_word_never_leaks(text: str, stop: list[str], data: st.DataObject) -> None:
    pieces = []  # "tokens" are arbitrary slices of the text
    while sum(map(len, pieces)) < len(text):
        at = sum(map(len, pieces))
        pieces.append(text[at : at + data.draw(st.integers(1, 3))])
    emitted, whole, stopped = streamed(lambda ids: "".join(pieces[i] for i in ids), list(range(len(pieces))), stop)
    assert "".join(emitted) == whole
    assert not any(word in whole for word in stop)
    assert stopped == any(word in text for word in stop)
    if stopped:
        assert any(text.startswith(whole + word) for word in stop)
    else:
        assert whole == text


def test_what_cannot_become_a_stop_word_is_not_held_back() -> None:
    pieces: list[str] = []
    stream = TextStream(lambda ids: "".join(map(chr, ids)), ["STOP"], pieces.append)
    for letter in "a ST":
        stream.push(ord(letter))
    assert "".join(pieces) == "a "
    stream.push(ord("x"))
    assert "".join(pieces) == "a STx"
