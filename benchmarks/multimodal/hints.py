"""What each type needs beside the rules, and why some types cannot be tried."""

from typing import Any

from benchmarks.multimodal.pictures import PICTURES
from benchmarks.multimodal.sounds import SOUNDS
from benchmarks.multimodal.videos import VIDEOS

TYPES: dict[str, dict[str, Any]] = PICTURES | VIDEOS | SOUNDS
REASONS = {
    "diffusion_gemma": "it writes blocks of text by diffusion: no next token to learn",
    "evolla": "it reads proteins beside text, and no picture, video or sound",
    "fast_vlm": "its vision tower needs timm, which is no part of the extra `multimodal`",
    "fun_asr_nano": "its feature extractor needs torchaudio, which is no part of the extra `multimodal`",
    "fuyu": "its processor cuts off the first token, which no tokenizer but its own puts there",
    "gemma3n": "its vision tower needs timm, which is no part of the extra `multimodal`",
    "granite_speech": "its feature extractor needs torchaudio, which is no part of the extra `multimodal`",
    "granite_speech_plus": "its feature extractor needs torchaudio, which is no part of the extra `multimodal`",
    "instructblipvideo": "its processor takes a video as images, which no conversation gives it",
    "kyutai_speech_to_text": "it writes beside a stream of sound, frame by frame: no question and answer",
    "mistral4": "it reads text only",
    "perception_lm": "its vision tower needs timm, which is no part of the extra `multimodal`",
    "pi0": "it answers with a robot's movements, not with text",
    "pp_formulanet": "its processor takes no text, and the model makes no decoder inputs of labels",
    "shieldgemma2": "a classifier of pictures: of the class that transformers pairs it with, the weights do not load",
    "udop": "it reads the words of a page with their boxes, which its processor takes from pytesseract",
    "voxtral": "its processor writes chats by mistral-common, from files of Mistral's own",
    "voxtral_realtime": "its processor writes chats by mistral-common, from files of Mistral's own",
}
"""Why a type cannot be tried here."""
PARTS = {
    ("kimi_k25", "video"): "transformers 5.23 averages a video's frames, and then divides what is left by frames",
    ("nemotron_h_omni", "video"): "its processor takes the metadata of one video, where others take a list",
}
"""Why a type cannot be tried here with one kind of media."""
BATCHES = {
    "hunyuan_vl": "the model gives a picture other values beside another one, even itself",
    "minicpmv4_6": "the model gives a picture other values beside another one, even itself",
    "minicpmv4_7": "the model gives a picture other values beside another one, even itself",
    "vibevoice_asr": "it samples what it hears, of a whole batch at once",
}
"""Why the losses of two rows with media need not be in a batch what they are alone."""
STILL = {
    ("chameleon", "image"): "a picture becomes tokens, by a choice that no gradient passes",
    ("inkling_mm_model", "audio"): "a sound becomes tokens, whose embeddings are no linear layers",
}
"""Why no adapter on a tower learns from a kind of media."""
