"""Questions with media: to the engine beside transformers' own processor, and to the server through OpenAI's client."""

import base64
import http.server
import io
import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import openai
import pytest
import torch
from PIL import Image

from components.config.groups.multimodal import Multimodal
from components.config.groups.serve import Serve
from components.config.groups.template import Template
from components.inference import GenerationConfig, RequestError, media_fetch, serving
from components.inference.media_intake import MediaIntake
from components.inference.transformers_engine import TransformersEngine
from components.media import Limits, load_processor
from tasks.loading import load
from tasks.prompts import prompts
from tests.components.inference.local import user
from tests.components.media.files import picture, video

GREEDY = GenerationConfig(max_new_tokens=12, temperature=0)
SLOW_S = 2.0
PICTURES = [picture(seed, size) for seed, size in enumerate([(64, 48), (40, 80), (56, 56)])]


def uri(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def image(url: str) -> dict[str, Any]:
    return {"type": "image_url", "image_url": {"url": url}}


def asking(*numbers: int, text: str = "What is it?") -> list[dict[str, Any]]:
    return user([{"type": "text", "text": "See "}, *(image(uri(PICTURES[n])) for n in numbers), text_part(text)])


def text_part(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}


def engine_over(folder: Path, **settings: Any) -> TransformersEngine:
    model, tokenizer = load(folder)
    processor = load_processor(folder, Multimodal(nframes=4), Path.cwd(), Limits(1_000_000, 5))
    return TransformersEngine(model, tokenizer, prompts(Template(), processor)(tokenizer), **settings)


@pytest.fixture(scope="module")
def sighted_engine(sighted_model: Path) -> Iterator[TransformersEngine]:
    engine = engine_over(sighted_model)
    yield engine
    engine.close()


def of_transformers(engine: Any, folder: Path, numbers: tuple[int, ...], text: str) -> tuple[list[int], list[int]]:
    """The ids of a prompt and of its answer, by the model's own processor and `generate`."""
    from transformers import AutoProcessor

    processor = AutoProcessor.from_pretrained(folder)
    parts = [text_part("See "), *({"type": "image"} for _ in numbers), text_part(text)]
    rendered = processor.apply_chat_template(user(parts if numbers else text), add_generation_prompt=True)
    images = [Image.open(io.BytesIO(PICTURES[n])) for n in numbers] or None
    inputs = processor(text=[rendered], images=images, return_tensors="pt")
    with torch.no_grad():
        whole = engine.model.generate(**inputs, max_new_tokens=12, eos_token_id=[*engine.eos], do_sample=False)
    size = inputs["input_ids"].shape[1]
    return whole[0, :size].tolist(), whole[0, size:].tolist()


def test_answers_are_those_of_the_processor_and_generate(sighted_engine: Any, sighted_model: Path) -> None:
    asked: list[tuple[tuple[int, ...], str]] = [((0,), "What is it?"), ((1, 2), "And these two?"), ((), "Who are you?")]
    expected = [of_transformers(sighted_engine, sighted_model, *pair) for pair in asked]
    ids = [sighted_engine.encode_chat(asking(*n, text=text) if n else user(text)) for n, text in asked]
    assert ids == [prompt for prompt, _ in expected]
    together = [future.result(60) for future in sighted_engine.submit_all(ids, [GREEDY] * 3)]
    assert [answer.token_ids for answer in together] == [answer for _, answer in expected]
    assert expected[0][1] != of_transformers(sighted_engine, sighted_model, (2,), "What is it?")[1]  # it looks
    one_by_one = engine_over(sighted_model, max_batch_size=2)  # whose batches are begun again with what is unfinished
    futures = [one_by_one.submit(prompt, GREEDY, source=n) for n, prompt in enumerate([*ids, *ids])]
    assert [future.result(60).token_ids for future in futures] == [answer for _, answer in [*expected, *expected]]
    one_by_one.close()


def test_what_stands_for_a_picture_is_not_written(sighted_engine: Any) -> None:
    wants_pictures = replace(GREEDY, logit_bias={3: 100.0, 4: 100.0})
    answer = sighted_engine.submit(sighted_engine.encode_chat(asking(0, text="?")), wants_pictures).result(60)
    assert answer.token_ids
    assert not {3, 4} & {*answer.token_ids}


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([image(uri(b"nothing"))], "the image of a data URI: "),
        ([image("data:image/png;base64,@@")], "the data of a data URI are no base64"),
        ([image("/nowhere.png")], "/nowhere.png: No such file"),
        ([{"type": "audio_url", "audio_url": {"url": uri(b"")}}], "the model takes no audios"),
        ([image(uri(PICTURES[0])), text_part("<image>")], "the texts have <image> 2 times"),
        ([image(uri(PICTURES[0])), text_part("<|image|>")], "does not take this row's media"),
        ([image(uri(picture(1, (1100, 1000))))], "media of more than 1,000,000 pixels together"),
        ([{"type": "video_url", "video_url": {"url": uri(video(48))}}], "videos and sounds of more than 5 seconds"),
    ],
)
def test_what_cannot_be_shown_is_one_error(sighted_engine: Any, content: Any, message: str) -> None:
    with pytest.raises(RequestError, match=message.replace("|", r"\|")):
        sighted_engine.encode_chat(user(content))


def test_a_placeholder_without_a_medium_is_refused_before_it_meets_others(sighted_engine: Any) -> None:
    with pytest.raises(RequestError, match="stands for a medium, and has none"):
        sighted_engine.submit(sighted_engine.encode_chat(user("<|image|>")), GREEDY)


def test_a_model_of_texts_alone_takes_no_pictures(client: Any) -> None:
    with pytest.raises(openai.BadRequestError, match="the model takes no images: it takes texts alone"):
        client.chat.completions.create(model="lively", messages=asking(0))


class Media(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        moved = {"/moved.png": "/picture.png", "/away.png": f"http://localhost:{self.server.server_port}/picture.png"}  # type: ignore[attr-defined]
        if self.path == "/slow.png":
            time.sleep(SLOW_S)
        self.send_response(302 if self.path in moved else 200)
        if self.path in moved:
            self.send_header("Location", moved[self.path])
        self.end_headers()
        self.wfile.write(PICTURES[0] if self.path in ("/picture.png", "/slow.png") else b"0" * (3 << 20))

    def log_message(self, *_: Any) -> None:
        pass


@contextmanager
def media_server() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Media) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture(scope="module")
def allowed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("served")
    (folder / "pictures").mkdir()
    (folder / "pictures/a.png").write_bytes(PICTURES[0])
    (folder / "secret.png").write_bytes(PICTURES[0])
    (folder / "pictures/link.png").symlink_to(folder / "secret.png")
    return folder


@pytest.fixture(scope="module")
def eyes(sighted_engine: Any, allowed: Path) -> Iterator[openai.OpenAI]:
    settings = Serve(
        limit_mm_per_prompt={"image": 2}, allowed_media_domains=["127.0.0.1"], max_request_mb=2,
        allowed_local_media_path=str(allowed / "pictures"), drain_timeout=2,
    )  # fmt: skip
    with serving({"eyes": sighted_engine}, settings) as url:
        yield openai.OpenAI(base_url=url, api_key="unused", max_retries=0)


def answer(client: openai.OpenAI, *parts: Any) -> str:
    ask: dict[str, Any] = {"messages": user([*parts, text_part("What?")]), "max_tokens": 12, "temperature": 0}
    return client.chat.completions.create(model="eyes", **ask).choices[0].message.content or ""


def test_openais_client_shows_pictures_and_videos(sighted_engine: Any, eyes: openai.OpenAI, allowed: Path) -> None:
    shown = image(uri(PICTURES[0]))
    ids = sighted_engine.encode_chat(user([shown, text_part("What?")]))
    expected = sighted_engine.submit(ids, GREEDY).result(60).text
    assert answer(eyes, shown) == expected
    assert answer(eyes, image(f"file://{allowed}/pictures/a.png")) == expected
    clip = {"type": "video_url", "video_url": {"url": uri(video(), "video/mp4")}}
    assert answer(eyes, clip) != expected
    body = {"messages": user([shown, text_part("What?")])}
    assert httpx.post(str(eyes.base_url).replace("v1/", "tokenize"), json=body).json()["tokens"] == ids
    streamed = eyes.chat.completions.create(
        model="eyes", messages=user([shown, text_part("What?")]), max_tokens=12, temperature=0, stream=True
    )
    assert "".join(chunk.choices[0].delta.content or "" for chunk in streamed) == expected


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("http://169.254.169.254/latest/meta-data", "media of 169.254.169.254 are not fetched; send the medium as"),
        ("http://127.0.0.1/a.png", "its address is of a private network"),
        ("http://user@127.0.0.1/a.png", "must be http"),
        ("ftp://127.0.0.1/a.png", "must be http"),
        ("{allowed}/secret.png", "files of the server are not read here"),
        ("file://{allowed}/pictures/../secret.png", "files of the server are not read here"),
        ("{allowed}/pictures/link.png", "files of the server are not read here"),
        ("a.png", "must be a data URI"),
    ],
)
def test_a_server_reads_nothing_that_is_not_allowed(eyes: openai.OpenAI, allowed: Path, url: str, message: str) -> None:
    with pytest.raises(openai.BadRequestError, match=message):
        answer(eyes, image(url.format(allowed=allowed)))


def test_allowed_hosts_are_fetched_from(eyes: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    assert [media_fetch.is_public(address) for address in ("8.8.8.8", "2606:4700::1111")] == [True, True]
    hidden = ("10.0.0.1", "127.0.0.1", "169.254.1.1", "::1", "fe80::1%eth0", "::ffff:10.0.0.1", "fd00::1", "224.0.0.1")
    assert not any(map(media_fetch.is_public, hidden))
    monkeypatch.setattr(media_fetch, "is_public", bool)  # this machine has no other address
    with media_server() as root:
        expected = answer(eyes, image(uri(PICTURES[0])))
        assert answer(eyes, image(f"{root}/picture.png")) == answer(eyes, image(f"{root}/moved.png")) == expected
        for path, message in (("away.png", "media of localhost are not fetched"), ("long.png", "more than 2 MiB")):
            with pytest.raises(openai.BadRequestError, match=message):
                answer(eyes, image(f"{root}/{path}"))


def test_a_request_has_its_limits(eyes: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="3 images in one request; this server takes 2"):
        answer(eyes, *[image(uri(PICTURES[0]))] * 3)
    with pytest.raises(openai.APIStatusError) as caught:
        answer(eyes, image(uri(b"0" * (2 << 20))))
    assert caught.value.status_code == 413


def test_slow_media_do_not_hold_others_up(eyes: openai.OpenAI, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(media_fetch, "is_public", bool)
    root = str(eyes.base_url).removesuffix("/v1/")
    with media_server() as url, ThreadPoolExecutor(4) as threads:
        slow = [threads.submit(answer, eyes, image(f"{url}/slow.png")) for _ in range(4)]
        time.sleep(0.3)
        begun = time.perf_counter()
        assert httpx.get(f"{root}/health").is_success
        assert answer(eyes)
        assert time.perf_counter() - begun < SLOW_S - 0.5
        assert len({future.result(60) for future in slow}) == 1


def test_another_program_gets_media_as_data_uris_alone(allowed: Path) -> None:
    intake = MediaIntake(Serve(limit_mm_per_prompt={"image": 1}, allowed_local_media_path=str(allowed / "pictures")))

    def forwarded(*parts: Any) -> Any:
        before = {"role": "assistant", "content": "hello", "audio": None}  # as OpenAI's client writes an answer
        body = {"messages": [before, *user([*parts, text_part("url")])], "tools": [{"function": {"name": "file"}}]}
        sent = json.loads(intake.forwarded(json.dumps(body).encode()))
        assert {**sent, "messages": sent["messages"][:1]} == {**body, "messages": [before]}
        return sent["messages"][1]["content"]

    assert forwarded() == [text_part("url")]
    assert forwarded(image(uri(PICTURES[0]))) == [image(uri(PICTURES[0])), text_part("url")]
    [read, _] = forwarded(image(f"file://{allowed}/pictures/a.png"))
    assert read["image_url"]["url"].partition(",")[2] == uri(PICTURES[0]).partition(",")[2]
    for parts, message in (
        ([image("http://10.0.0.1/a.png")], "media of 10.0.0.1 are not fetched"),
        ([{"type": "image_url", "image_url": "http://10.0.0.1/a.png"}], "must be a part of the type"),
        ([{"image_url": {"url": "http://10.0.0.1/a.png"}}], "must be a part of the type"),
        ([{"type": "image", "source": {"type": "url", "url": "http://10.0.0.1/a.png"}}], "must be a part of the type"),
        ([image(uri(PICTURES[0]))] * 2, "this server takes 1"),
    ):
        with pytest.raises(RequestError, match=message):
            forwarded(*parts)
