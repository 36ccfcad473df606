"""What is known of a file after it was opened once."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from components.media import Facts, Medium, kind_of, read_audio, suffix_of
from components.media.errors import MediaError
from components.media.facts import facts_of
from tests.components.media.files import animation, picture, sound, video


def facts(folder: Path, kind: str, content: bytes) -> Facts:
    (folder / "file").write_bytes(content)
    return facts_of(Medium(kind, "file", hashlib.sha256(content).hexdigest()), folder)


def test_facts_of_each_kind(tmp_path: Path):
    image = facts(tmp_path, "image", picture(1, (60, 40), "JPEG"))
    assert (image.format, image.suffix, image.width, image.height, image.mode) == ("JPEG", ".jpg", 60, 40, "RGB")
    assert facts(tmp_path, "image", animation(5)).frames == 5
    tone = facts(tmp_path, "audio", sound(0.5, channels=2, level=0.5))
    assert (tone.channels, tone.seconds) == (2, pytest.approx(0.5)) and tone.peak == pytest.approx(0.5, abs=0.01)
    moving = facts(tmp_path, "video", video(12, fps=6))
    assert (moving.frames, moving.seconds, moving.width) == (12, pytest.approx(2), 32)


def test_a_picture_looks_the_same_in_another_size_and_format(tmp_path: Path):
    look = facts(tmp_path, "image", picture(4, (96, 64))).look
    other = facts(tmp_path, "image", picture(4, (480, 320), "JPEG", quality=50)).look
    assert (look ^ other).bit_count() <= 2 < (look ^ facts(tmp_path, "image", picture(5, (96, 64))).look).bit_count()


def test_a_list_of_files_opens_none_of_them(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """FFmpeg would read what a concat script or an HLS playlist names."""
    (tmp_path / "secret.wav").write_bytes(sound(1.0))
    monkeypatch.chdir(tmp_path)
    script = b"ffconcat version 1.0\nfile secret.wav\n"
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n{tmp_path / 'secret.wav'}\n#EXT-X-ENDLIST\n".encode()
    for content in (script, playlist):
        with pytest.raises(MediaError, match=r"not a video or a sound that can be decoded"):
            read_audio(content, 8000)


@pytest.mark.parametrize("channels", [2, 7, 8, 16])
def test_a_sound_of_any_number_of_channels_is_heard_as_one(channels: int, tmp_path: Path) -> None:
    one, many = read_audio(sound(0.5), 16_000), read_audio(sound(0.5, channels), 16_000)
    np.testing.assert_allclose(many, one, atol=1e-6)
    assert facts(tmp_path, "audio", sound(0.5, channels)).peak == pytest.approx(0.3, abs=1e-3)


def test_files_are_known_by_their_beginning_and_by_their_name():
    made = {".png": picture(), ".jpg": picture(kind="JPEG"), ".gif": animation(), ".wav": sound(), ".mp4": video(),
            ".webp": picture(kind="WEBP"), ".bmp": picture(kind="BMP"), ".tiff": picture(kind="TIFF"),
            ".ppm": picture(kind="PPM"), "": b"a text"}  # fmt: skip
    assert {suffix: suffix_of(content) for suffix, content in made.items()} == {suffix: suffix for suffix in made}
    assert [kind_of(name) for name in ("a.JPG", "b.mp4", "c.flac", "d.txt")] == ["image", "video", "audio", None]
