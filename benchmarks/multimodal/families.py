"""What several types need beside the rules of sizes: `config` for parts of the configuration, `tokens`, `template`, and
options of the processor (`processor`) and its parts (`image`, `video`, `audio`)."""

from typing import Any

ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def mrope(*section: int, **more: Any) -> dict[str, Any]:
    """Return a text part's values with angles for time, height and width; half a head in all."""
    return {"text_config": {"rope_parameters": {**ROPE, "mrope_section": list(section)}, **more}}


MROPE = mrope(2, 3, 3)
QWEN_IMAGE = "Qwen2VLImageProcessor"
LLAVA = {"patch_size": 14, "vision_feature_select_strategy": "default", "num_additional_image_tokens": 1}
GRID = [[56, 112], [112, 56], [112, 112]]
FRAMED = {"template": {"image": "<boi><image><eoi>", "video": "<boi><video><eoi>", "audio": "<boa><audio><eoa>"}}
GLM = {
    "config": MROPE,
    "tokens": {
        "image_token": "<|image|>",
        "video_token": "<|video|>",
        "image_start_token": "<|begin_of_image|>",
        "image_end_token": "<|end_of_image|>",
        "video_start_token": "<|begin_of_video|>",
        "video_end_token": "<|end_of_video|>",
    },
    "template": {
        "image": "<|begin_of_image|><|image|><|end_of_image|>",
        "video": "<|begin_of_video|><|video|><|end_of_video|>",
    },
}
GLM46 = {
    "processor_class": "Glm46VProcessor",
    "image_class": "Glm46VImageProcessor",
    "video_class": "Glm46VVideoProcessor",
}
GEMMA3 = {
    "config": {"mm_tokens_per_image": 4},
    "processor": {"image_seq_length": 4},
    "template": {"image": "<boi>"},
}
IDEFICS = {
    "tokens": {
        "fake_token": "<fake_token_around_image>",
        "global_token": "<global-img>",
        "end_of_utterance_token": "<end_of_utterance>",
    }
}
MISTRAL = {
    "tokens": {"image_token": "[IMG]", "image_break_token": "[IMG_BREAK]", "image_end_token": "[IMG_END]"},
    "processor": {"patch_size": 14, "spatial_merge_size": 2},
}
MUSE = {
    "tokens": {
        "image_token": "<|patch|>",
        "image_start_token": "<|image_start|>",
        "image_end_token": "<|image_end|>",
        "video_token": "<|video|>",
        "video_sep_token": "<|vid_frame_separator|>",
        "video_start_token": "<|vid_start|>",
        "video_end_token": "<|vid_end|>",
    },
}
OMNI = {
    **FRAMED,
    "config": {**MROPE, "vision_start_token_id": "<boi>", "vision_end_token_id": "<eoi>"},
    "image_class": QWEN_IMAGE,
    "video_class": "Qwen2VLVideoProcessor",
    "audio_class": "WhisperFeatureExtractor",
    "audio": {"feature_size": 128},
}

BLIP2 = {
    "tokens": {"image_token": None, "query_token": "<image>"},  # by name it is not taken for the processor's own
    "config": {"num_query_tokens": 4, "image_token_index": "<image>"},
    "processor": {"num_query_tokens": 4},
    "template": {"image": ""},
}
VISUAL = [f"IMGIMG{chr(ord('A') + number)}Z" for number in range(10)]
EMU = [f"<|visual token {number:06}|>" for number in range(16)]
SAM = {"hidden_size": 32, "output_channels": 16, "mlp_dim": 64, "window_size": 2, "num_pos_feats": 8}
LARGE = {"image_size": 1024, "window_size": 8, "global_attn_indexes": []}
