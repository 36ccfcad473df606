"""A model that sees, asked by commands: at a terminal, from a pipe, rows of a file, a server, question sets."""

import json
import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import openai
import pytest

from components.config import Params
from components.config.groups.multimodal import Multimodal
from components.evaluation import write_report
from tasks import target
from tasks.prompts import trained_with
from tasks.stages import fetch
from tasks.stages.evaluate import evaluate_model
from tasks.stages.paths import Paths
from tasks.stages.question_sets import sets_of
from tests.commands import Command, deployed, martlet
from tests.components.inference.test_media import image, uri
from tests.components.media.files import picture, sound, video

SHORT = ("--temperature", 0, "--max_new_tokens", 8)


@pytest.fixture
def folder(tmp_path: Path, sighted_model: Path) -> Path:
    for name, seed in (("a.png", 1), ("b.png", 2)):
        (tmp_path / name).write_bytes(picture(seed, (64, 48)))
    (tmp_path / "base").symlink_to(sighted_model)
    return tmp_path


def write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def answers(folder: Path, rows: list[dict[str, Any]], *flags: object) -> list[dict[str, Any]]:
    write(folder / "questions.jsonl", rows)
    martlet(folder, "infer", "--model", "base", "--val_dataset", "questions.jsonl", *SHORT, *flags)
    return [json.loads(line) for line in (folder / "result.jsonl").read_text().splitlines()]


def test_a_file_a_pipe_and_a_server_give_the_same_answers(folder: Path) -> None:
    rows = [
        {"query": "<image>What is it?", "response": "a cat", "images": ["a.png"]},
        {
            "messages": [
                {"role": "user", "content": [image(uri(picture(2, (64, 48)))), {"type": "text", "text": "And?"}]}
            ]
        },
        {"query": "Who are you?", "response": ""},
    ]
    first, second, third = answers(folder, rows)
    assert first["messages"][0]["content"] == "<image>What is it?" and first["labels"] == "a cat"
    assert first["images"][0]["path"] == str(folder / "a.png") and len(first["images"][0]["sha256"]) == 64
    assert Path(second["images"][0]["path"]).read_bytes() == picture(2, (64, 48))
    assert "images" not in third and first["response"] != second["response"]
    infer = ("infer", "--model", "base", *SHORT)
    piped = martlet(folder, *infer, "--images", "a.png", text="What is it?\n<image>What is it?\n")
    assert piped == f"{first['response']}\n\n" * 2
    (folder / "clips").mkdir()
    (folder / "clips/clip.mp4").write_bytes(video())
    [clip] = answers(folder, [{"query": "<video>What?", "videos": ["clip.mp4"]}], "--root_image_dir", "clips")
    assert martlet(folder, *infer, "--videos", "clips/clip.mp4", text="What?\n") == f"{clip['response']}\n\n"
    limits = ("--limit_mm_per_prompt", '{"image": 1}', "--max_media_pixels", 5000, "--max_media_seconds", 1)
    with deployed(folder, "--model", "base", *limits) as url:
        client = openai.OpenAI(base_url=url, api_key="unused", max_retries=0)

        def ask(*parts: dict[str, Any]) -> str | None:
            asked: Any = [{"role": "user", "content": [*parts, {"type": "text", "text": "And?"}]}]
            name = client.models.list().data[0].id
            whole = client.chat.completions.create(model=name, messages=asked, temperature=0, max_tokens=8)
            return whole.choices[0].message.content

        shown = image(uri(picture(2, (64, 48))))
        assert ask(shown) == second["response"]
        with pytest.raises(openai.BadRequestError, match="this server takes 1"):
            ask(shown, shown)
        with pytest.raises(openai.BadRequestError, match="more than 5,000 pixels"):
            ask(image(uri(picture(1, (80, 80)))))
        with pytest.raises(openai.BadRequestError, match="more than 1 seconds"):
            ask({"type": "video_url", "video_url": {"url": uri(video(16, (16, 16)))}})


def test_pictures_are_read_as_in_the_training_or_as_a_flag_says(folder: Path, tmp_path: Path) -> None:
    rows = [{"query": "<image>What?", "images": ["a.png"]}]
    [large], [small] = answers(folder, rows), answers(folder, rows, "--max_pixels", 784)
    assert large["response"] != small["response"]
    flags = {
        "max_pixels": 784,
        "video_max_pixels": 784,
        "fps": 1.0,
        "nframes": 2,
        "fps_min_frames": 2,
        "fps_max_frames": 8,
    }
    found = target.find({"model": str(folder / "base"), **flags}).params
    assert found.multimodal == Multimodal.model_validate(flags)
    (tmp_path / "args.json").write_text('{"multimodal": {"max_pixels": 784}}')
    assert trained_with(tmp_path, Multimodal()).max_pixels == 784


def test_what_is_not_there_is_told_before_the_model_is_loaded(folder: Path) -> None:
    asked = ("infer", "--model", "base")
    assert "nix.png: no such file" in martlet(folder, *asked, "--images", "nix.png", code=2)
    (folder / "s.wav").write_bytes(sound())
    heard = Command(folder, *asked, "--audios", "s.wav", text="What?\n").wait()
    assert heard.returncode == 1 and "the model takes no audios" in heard.stderr
    url = "https://example.invalid/a.png"
    assert "is not downloaded without --download_media true" in martlet(folder, *asked, "--images", url, code=2)
    write(folder / "q.jsonl", [{"query": "<image>What?", "images": ["nix.png"]}])
    assert "q.jsonl:1: nix.png: no such file in" in martlet(folder, *asked, "--val_dataset", "q.jsonl", code=3)
    write(folder / "q.jsonl", [{"query": "Is it at <bbox>?", "images": [], "objects": {"bbox": [[1, 1, 2, 2]]}}])
    assert "q.jsonl:1: <bbox> and <ref-object> are" in martlet(folder, *asked, "--val_dataset", "q.jsonl", code=3)
    seen = Command(folder, *asked, text="<image>What?\n").wait().stderr
    assert "<image> in the question stands for no image" in seen


def test_a_tag_asks_for_a_path_at_a_terminal(folder: Path, sighted_model: Path) -> None:
    [expected] = answers(folder, [{"query": "<image>What is it?", "images": ["a.png"]}])
    outside, inside = pty.openpty()
    words = f"infer --model base {shlex.join(map(str, SHORT))} --stream false".split()
    code = f"import sys; sys.argv = ['martlet', *{words}]; from apps.cli.main import main; main()"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path), "TERM": "dumb"}
    program = subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=inside,
        stdout=inside,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        env=environment,
    )
    os.close(inside)
    seen = ""

    def until(text: str) -> str:
        nonlocal seen
        while text not in seen:
            seen += os.read(outside, 65536).decode(errors="replace")
        before, _, seen = seen.partition(text)
        return before

    until("<<< ")
    os.write(outside, b"<image>What is it?\n")
    until("Input an image path or URL <<< ")
    os.write(outside, b"nix.png\n")
    assert "nix.png: no such file" in until("Input an image path or URL <<< ")  # and is asked for again
    os.write(outside, b"a.png\n")
    until("a.png\r\n")
    assert until("\r\n<<< ") == expected["response"].replace("\n", "\r\n")
    os.write(outside, b"exit\n")
    assert program.wait(30) == 0
    os.close(outside)


def test_question_sets_show_their_pictures(folder: Path) -> None:
    [expected] = answers(folder, [{"query": "<image>What?", "images": ["b.png"]}])
    write(folder / "sights.jsonl", [{"query": "<image>What?", "response": expected["response"], "images": ["b.png"]}])
    write(folder / "rows.jsonl", [{"query": "a", "response": "b"}])
    paths = Paths(folder, folder)
    data = {"dataset": ["rows.jsonl"], "eval_dataset": ["sights.jsonl"]}
    settings = {"eval_generation_config": {"max_tokens": 8, "temperature": 0.0}}
    params = Params.model_validate({"data": data, "model": {"model": "base"}, "evaluate": settings})
    fetch.run(params, paths)
    assert fetch.up_to_date(params, paths)
    [record] = evaluate_model(folder / "base", "eyes", sets_of(params, paths), params, paths)
    assert record["score"] == 1.0
    assert json.loads(record["media"]) == {"images": [str(folder / "b.png")]}
    assert write_report(folder / "reports", "eyes", [record])["sets"]["sights"]["items"] == 1
    (folder / "b.png").write_bytes(picture(3))
    assert not fetch.up_to_date(params, paths)
