"""What each type that sees videos, and no more than that, needs beside the rules."""

from typing import Any

from benchmarks.multimodal.families import (
    FRAMED,
    GLM,
    GLM46,
    GRID,
    IDEFICS,
    LLAVA,
    MROPE,
    MUSE,
    QWEN_IMAGE,
    ROPE,
    mrope,
)

VIDEOS: dict[str, dict[str, Any]] = {
    "cohere_compass": {
        "tokens": {
            "image_token": "<|IMAGE_PAD|>",
            "video_token": "<|VIDEO_PAD|>",
            "vision_start_token": "<|VISION_START|>",
            "vision_end_token": "<|VISION_END|>",
        },
        "config": {"text_config": {"rope_parameters": {"full_attention": {**ROPE, "mrope_section": [2, 3, 3]}}}},
        "template": {
            "image": "<|VISION_START|><|IMAGE_PAD|><|VISION_END|>",
            "video": "<|VISION_START|><|VIDEO_PAD|><|VISION_END|>",
        },
    },
    "cosmos3_edge": {"config": MROPE, **FRAMED},
    "cosmos3_omni": {"config": MROPE, "processor_class": "Qwen3VLProcessor", **FRAMED},
    "ernie4_5_vl_moe": {
        "video": {"draw_on_frames": False},
        "config": mrope(3, 3, 2, moe_intermediate_size=[64, 64]),
        **FRAMED,
    },
    "glm46v": GLM,
    "glm4v": GLM,
    "glm4v_moe": {
        **GLM,
        "config": mrope(2, 1, 1),
        "image_class": "Glm4vImageProcessor",
        "video_class": "Glm4vVideoProcessor",
    },
    "glm5_next": {**GLM, "config": {}},
    "glm_ocr": GLM | GLM46,
    "glmga": {**GLM, "processor_class": "Glm46VProcessor"},
    "internvl": {
        "config": {"vision_config": {"image_size": [56, 56]}, "image_seq_length": 4},
        "processor": {"image_seq_length": 4},
        "image": {"size": {"height": 56, "width": 56}},
    },
    "kimi_k25": {**FRAMED},
    "llava_next_video": {
        "processor": LLAVA,
        "config": {"image_grid_pinpoints": GRID},
        "image": {"image_grid_pinpoints": GRID},
    },
    "llava_onevision": {
        "processor": {"num_image_tokens": 16, "vision_feature_select_strategy": "full"},
        "config": {"image_grid_pinpoints": GRID},
        "image": {"image_grid_pinpoints": GRID},
    },
    "minimax_m3_vl": {
        "tokens": {
            "image_token": "]<]image[>[",
            "video_token": "]<]video[>[",
            "vision_start_token": "]<]start of image[>[",
            "vision_end_token": "]<]end of image[>[",
        }
    },
    "molmo2": {
        "start": "<s>",
        "tokens": {
            "image_token": "<|image|>",
            "video_token": "<|video|>",
            "patch_token": "<im_patch>",
            "column_token": "<im_col>",
            "image_start_token": "<im_start>",
            "low_res_image_start_token": "<low_res_im_start>",
            "image_end_token": "<im_end>",
            "low_res_token": "<im_low>",
            "frame_start_token": "<frame_start>",
            "frame_end_token": "<frame_end>",
        },
        "config": {
            "vision_config": {"image_size": [56, 56], "num_position_embeddings": 16},
            "adapter_config": {"vision_feature_layer": [-1, -2], "text_hidden_size": 64},
            "image_patch_id": "<im_patch>",
        },
        "image": {"overlap_margins": [1, 1], "size": {"height": 56, "width": 56}},
        "video": {"size": {"height": 56, "width": 56}},
    },
    "muse_glimmer": {**MUSE, "config": {"out_hidden_size": 256}},
    "qwen2_5_vl": {"config": MROPE, **FRAMED},
    "qwen2_vl": {"config": MROPE, **FRAMED},
    "qwen3_5": {"config": mrope(2, 1, 1, head_dim=32), **FRAMED},
    "qwen3_5_moe": {"config": mrope(2, 1, 1, head_dim=32), **FRAMED},
    "qwen3_vl": {"config": MROPE, **FRAMED},
    "qwen3_vl_moe": {"config": MROPE, "image_class": QWEN_IMAGE, **FRAMED},
    "qwen4_exp": {
        "config": {
            "text_config": {
                "indexer_n_heads": 2,
                "indexer_kv_heads": 1,
                "indexer_head_dim": 16,
                "indexer_budget": 64,
                "indexer_compress_ratio": 2,
                "ngram_vocab_size_base": 64,
                "split_ngram_parts": 2,
            }
        },
        **FRAMED,
    },
    "smolvlm": {
        **IDEFICS,
        "processor": {"image_seq_len": 4},
        "video": {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 128}},
        "image": {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 128}},
    },
    "video_llava": {
        "processor": LLAVA,
        "image": {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}},
    },
}
