"""The fast tokenizer is used while it agrees and never otherwise; long rows; weights; several processes."""

import json
import unicodedata
from pathlib import Path

import fastokens
import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from components.errors import ConfigError
from components.rows import rows_writer, to_arrow
from components.templates import (
    ChatTemplate,
    Encoder,
    FastTokenizerDiffersError,
    Refused,
    encode,
    strategy,
    tokenize,
)  # fmt: skip
from components.templates.backend import Backend, fast_tokenizer
from components.templates.spans import token_spans
from components.tokens import IGNORED
from tests.components.templates.styles import STYLES, tokenizer

TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)


def row(question: str, answer: str, **more: object) -> dict:
    return {
        "messages": [{"role": "user", "content": question}, {"role": "assistant", "content": answer, **more}],
    }


def other_tokenizer(tok) -> fastokens.Tokenizer:
    """The same vocabulary with the pairs of letters merged in the opposite order: other ids for many texts."""
    described = json.loads(tok.backend_tokenizer.to_str())
    described["model"]["merges"] = described["model"]["merges"][:5]
    described["post_processor"] = None
    return fastokens.Tokenizer.from_json_str(json.dumps(described))


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=5))
def test_the_fast_ids_are_the_tokenizers_own(texts: list[str]) -> None:
    fast, exact = Backend(tokenizer(STYLES["chatml"])), Backend(tokenizer(STYLES["chatml"]), fast=False)
    assert (fast.name, exact.name) == ("fastokens", "tokenizers")
    ours, theirs = fast.encode(texts)[0], exact.encode(texts)[0]
    assert np.array_equal(ours.ids, theirs.ids)
    assert np.array_equal(ours.offsets, theirs.offsets)


@settings(max_examples=60, deadline=None)
@given(st.lists(TEXT, min_size=1, max_size=3), st.data())
def test_spans_by_bytes_are_spans_by_offsets(texts: list[str], data: st.DataObject) -> None:
    backend = Backend(tokenizer(STYLES["chatml"]))
    tokens, _ = backend.encode(texts)
    points = [sorted(data.draw(st.tuples(*[st.integers(0, len(text))] * 2))) for text in texts]
    pairs = [(i, (start, stop)) for i, (start, stop) in enumerate(points) if start < stop]
    for (i, span), (first, end) in zip(pairs, backend.locate(texts, tokens, pairs).tolist(), strict=True):
        encoding = backend.exact.encode(texts[i], add_special_tokens=False)
        base = int(tokens.offsets[i])
        if first >= 0:
            assert token_spans(encoding, texts[i], [span]) == [(first - base, end - base)]
        elif unicodedata.is_normalized("NFC", texts[i]):  # else lengths prove nothing
            with pytest.raises(Refused):
                token_spans(encoding, texts[i], [span])


def test_a_fast_tokenizer_that_differs_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    tok = tokenizer(STYLES["chatml"])
    monkeypatch.setattr("components.templates.backend.fast_tokenizer", lambda _: other_tokenizer(tok))
    backend = Backend(tok)
    with pytest.raises(FastTokenizerDiffersError):
        backend.encode(["The answer is that the other one is here."])


class WrongIn:
    """fastokens with a wrong first id in the text number `wrong`."""

    def __init__(self, fast: fastokens.Tokenizer, wrong: int) -> None:
        self.fast, self.wrong = fast, wrong

    def encode_batch_flat(self, texts: list[str], add_special_tokens: bool) -> tuple[bytes, bytes]:
        ids, offsets = self.fast.encode_batch_flat(texts, add_special_tokens=add_special_tokens)
        changed = np.frombuffer(ids, np.uint32).copy()
        changed[np.frombuffer(offsets, np.uint64)[self.wrong]] += 1
        return changed.tobytes(), offsets


@pytest.mark.parametrize(
    ("wrong", "times", "seen"),
    [(0, 1, True), (64, 1, True), (77, 1, True), (76, 1, False), (78, 1, False), (77, 2, False), (192, 2, True)],
)
def test_every_64th_text_is_compared_and_the_first_with_new_characters(
    wrong: int, times: int, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    texts = ["plain"] * 200
    texts[77] = "多"
    other = WrongIn(fast_tokenizer(Backend(tokenizer(STYLES["chatml"])).exact), wrong)
    monkeypatch.setattr("components.templates.backend.fast_tokenizer", lambda _: other)
    backend = Backend(tokenizer(STYLES["chatml"]))
    for _ in range(times - 1):  # the second time its characters are not new
        other.wrong = 1
        backend.encode(texts)
        other.wrong = wrong
    if seen:
        with pytest.raises(FastTokenizerDiffersError):
            backend.encode(texts)
    else:
        backend.encode(texts)


def test_a_run_whose_fast_tokenizer_differs_is_done_again_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tok = tokenizer(STYLES["chatml"])
    write(tmp_path / "clean", [row("What is the answer?", "The answer is here.")] * 3)
    expected = tokenize_to(tmp_path / "expected", tmp_path / "clean", tok)
    assert expected["tokenizer_backend"] == "fastokens"
    monkeypatch.setattr("components.templates.backend.fast_tokenizer", lambda _: other_tokenizer(tok))
    report = tokenize_to(tmp_path / "found", tmp_path / "clean", tok)
    assert report["tokenizer_backend"] == "tokenizers"
    assert (tmp_path / "found/train.arrow").read_bytes() == (tmp_path / "expected/train.arrow").read_bytes()


def test_a_tokenizer_that_is_not_made_of_bytes_keeps_its_own_backend() -> None:
    assert Backend(tokenizer(STYLES["llama2"], "metaspace")).name == "tokenizers"


def test_split_keeps_every_token_once_and_drops_pieces_with_nothing_to_learn() -> None:
    chat = ChatTemplate(tokenizer(STYLES["chatml"]))
    content = row("Say it many times over, please, and once more.", "again " * 40)
    [[whole]] = encode([content], chat)
    size = 16
    [pieces] = encode([content], chat, max_length=size, truncation_strategy="split")
    assert isinstance(pieces, list)
    begin = len(whole.input_ids) - sum(len(piece.input_ids) for piece in pieces)
    assert begin % size == 0
    assert all(label == IGNORED for label in whole.labels[:begin])
    assert [i for piece in pieces for i in piece.input_ids] == whole.input_ids[begin:]
    assert [label for piece in pieces for label in piece.labels] == whole.labels[begin:]
    assert all(len(piece.input_ids) <= size for piece in pieces)
    counts = Encoder(chat, "sft", size, "split")([content], ["x"], [0]).counts
    assert (counts["truncated"], counts["cut"], counts["emptied"]) == (1, 1, begin // size)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.integers(1, 60), min_size=1, max_size=6), st.integers(4, 50), st.sampled_from(["left", "right"]))
def test_a_truncated_row_keeps_its_end_or_its_beginning(sizes: list[int], limit: int, strategy: str) -> None:
    chat = ChatTemplate(tokenizer(STYLES["chatml"]))
    rows = [row("go", "on " * size) for size in sizes]
    whole = [found[0] for found in encode(rows, chat)]
    for full, found in zip(whole, encode(rows, chat, limit, strategy), strict=True):  # type: ignore[arg-type]
        kept = slice(-limit, None) if strategy == "left" else slice(limit)
        if all(label == IGNORED for label in full.labels[kept]):
            assert isinstance(found, Refused)
        else:
            assert found[0].input_ids == full.input_ids[kept]
            assert found[0].labels == full.labels[kept]


def test_an_answer_of_weight_zero_is_not_learned_and_another_weight_has_its_column(tmp_path: Path) -> None:
    tok = tokenizer(STYLES["chatml"])
    rows = [row("one", "first"), row("two", "second", loss_scale=0.25), row("three", "third", loss_scale=0.0)]
    write(tmp_path / "even", [rows[0]])
    assert not tokenize_to(tmp_path / "a", tmp_path / "even", tok)["weighted"]
    assert "loss_scale" not in table(tmp_path / "a").column_names
    write(tmp_path / "uneven", rows)
    report = tokenize_to(tmp_path / "b", tmp_path / "uneven", tok)
    assert report["weighted"]
    assert [refusal["row"] for refusal in report["refused"]] == [3]
    for sample, weight in zip(table(tmp_path / "b").to_pylist(), [1.0, 0.25], strict=True):
        learned = [label != IGNORED for label in sample["labels"]]
        assert sample["loss_scale"] == [weight if own else 0.0 for own in learned]


def test_several_processes_write_the_same_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("components.templates.dataset.SINGLE_PROCESS_MAX_ROWS", 0)
    tok = tokenizer(STYLES["chatml"])
    write(
        tmp_path / "clean", [row(f"question {n}", f"answer {n} <|im_end|>" if n % 7 == 3 else "yes") for n in range(60)]
    )
    reports = [tokenize_to(tmp_path / str(n), tmp_path / "clean", tok, n) for n in (1, 2)]
    assert reports[0] == reports[1]
    assert len(reports[0]["refused"]) == 9
    assert reports[0]["samples"]["train"] + 9 == 60
    assert (tmp_path / "1/train.arrow").read_bytes() == (tmp_path / "2/train.arrow").read_bytes()


def write(folder: Path, rows: list[dict]) -> None:
    folder.mkdir()
    with rows_writer(folder / "train.parquet") as writer:
        for at in range(0, len(rows), 8):
            batch = rows[at : at + 8]
            writer.write_batch(to_arrow(batch, ["x"] * len(batch), range(at + 1, at + 1 + len(batch))))


def tokenize_to(out: Path, clean: Path, tok, processes: int = 1) -> dict:
    out.mkdir()
    return tokenize(clean, out, ChatTemplate(tok), "sft", 512, dataset_num_proc=processes)


def table(folder: Path) -> pa.Table:
    return pa.ipc.open_file(folder / "train.arrow").read_all()


def test_a_rows_weight_is_its_own_affair() -> None:
    chat = ChatTemplate(tokenizer(STYLES["chatml"]))
    rows = [row("one", "first", loss_scale=1e17), row("two", "second"), row("three", "third", loss_scale=0.1)]
    for weight, [sample] in zip([1e17, 1.0, 0.1], encode(rows, chat), strict=True):
        assert {w for w in sample.weights if w} == {float(np.float32(weight))}


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("return [(response, float('inf'))]", "must be a number of 0 or more"),
        ("return [(response, -1.0)]", "must be a number of 0 or more"),
        ("return [('other', 1.0)]", "not the response"),
    ],
)
def test_a_strategy_that_makes_no_sense_is_told_so(tmp_path: Path, body: str, said: str) -> None:
    (tmp_path / "odd.py").write_text(f"def weigh(response, query):\n    {body}\n")
    weights = strategy("odd", [tmp_path / "odd.py"])
    with pytest.raises(ConfigError, match=said):
        encode([row("one", "first")], ChatTemplate(tokenizer(STYLES["chatml"]), loss_scale=weights))


def test_a_plugin_that_ends_the_process_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "odd.py").write_text("import sys\nsys.exit(0)\n")
    with pytest.raises(ConfigError, match=r"odd\.py"):
        strategy("odd", [tmp_path / "odd.py"])
