"""What each type that sees pictures needs beside the rules."""

from typing import Any

from benchmarks.multimodal.families import (
    BLIP2,
    EMU,
    FRAMED,
    GEMMA3,
    GRID,
    IDEFICS,
    LARGE,
    LLAVA,
    MISTRAL,
    MROPE,
    SAM,
    VISUAL,
    mrope,
)

PICTURES: dict[str, dict[str, Any]] = {
    "aria": {
        "config": {
            "vision_config": {"patch_size": 98, "image_size": 980, "hidden_size": 16, "intermediate_size": 32},
            "projector_patch_to_query_dict": {100: 4},
        },
        "processor": {"size_conversion": {980: 4}},
    },
    "aya_vision": {
        "tokens": {
            "image_token": "<image>",
            "img_patch_token": "<|IMG_PATCH|>",
            "start_of_img_token": "<|START_OF_IMG|>",
            "end_of_img_token": "<|END_OF_IMG|>",
            "tile_token": "TILE",
            "tile_global_token": "TILE_GLOBAL",
        },
        "config": {"image_token_index": "<|IMG_PATCH|>"},
        "processor": {"patch_size": 14, "img_size": 56, "downsample_factor": 2},
        "image": {"crop_to_patches": True, "max_patches": 2},
    },
    "blip": {"image": {}},
    "blip-2": BLIP2,
    "chameleon": {
        "tokens": {f"{token}_token": token for token in VISUAL},
        "config": {
            "vocabulary_map": ["<image>", *VISUAL],
            "vq_config": {
                "embed_dim": 16,
                "num_embeddings": len(VISUAL),
                "resolution": 32,
                "base_channels": 32,
                "channel_multiplier": [1, 1, 1],
                "latent_channels": 16,
                "num_res_blocks": 1,
            },
        },
        "processor": {"image_seq_length": 64},
        "image": {"size": {"shortest_edge": 32}, "crop_size": {"height": 32, "width": 32}},
    },
    "cohere2_vision": {"image": {"patch_size": 2}},
    "deepseek_ocr2": {
        "config": {
            "vision_config": {"sam_config": {**SAM, **LARGE, "downsample_channels": [32, 64]}},
            "text_config": {
                "mlp_layer_types": ["dense", "sparse"],
                "moe_intermediate_size": 32,
                "num_experts_per_tok": 2,
            },
        },
        "image": {"crop_to_patches": False, "size": {"height": 1024, "width": 1024}},
    },
    "deepseek_vl": {"processor": {"num_image_tokens": 16}},
    "deepseek_vl_hybrid": {
        "processor": {"num_image_tokens": 16},
        "config": {"high_res_vision_config": SAM},
        "image": {"high_res_size": {"height": 64, "width": 64}},
    },
    "emu3": {
        "start": "<s>",
        "tokens": {
            "boi_token": "<|image start|>",
            "eoi_token": "<|image end|>",
            "image_wrapper_token": "<|image token|>",
            "eol_token": "<|extra_200|>",
            "eof_token": "<|extra_201|>",
            **{f"visual_{number}_token": token for number, token in enumerate(EMU)},
        },
        "config": {
            "vocabulary_map": ["<image>", "<|extra_200|>", *EMU],
            "vq_config": {
                "codebook_size": len(EMU),
                "base_channels": 32,
                "channel_multiplier": [1, 1, 1, 1],
                "num_res_blocks": 1,
                "hidden_size": 32,
            },
        },
        "image": {"min_pixels": 64 * 64, "max_pixels": 64 * 64},
    },
    "florence2": {
        "config": {
            "vision_config": {
                "depths": [1, 1, 1, 1],
                "embed_dim": [8, 16, 32, 64],
                "num_heads": [1, 2, 2, 4],
                "num_groups": [1, 2, 2, 4],
                "window_size": 2,
                "projection_dim": 64,
            }
        },
        "template": {"image": ""},
        "image": {"image_seq_length": 5, "size": {"height": 64, "width": 64}, "do_center_crop": False},
    },
    "gemma3": GEMMA3,
    "got_ocr2": {
        "config": {"vision_config": {**SAM, **LARGE}},
        "tokens": {"image_token": "<imgpad>", "image_start_token": "<img>", "image_end_token": "</img>"},
        "image": {"size": {"height": 1024, "width": 1024}},
    },
    "granite4_vision": {
        "config": {
            "image_grid_pinpoints": [[112, 224], [224, 112], [224, 224]],
            "vision_config": {"patch_size": 14, "image_size": 112},
            "qformer_config": {"encoder_hidden_size": 64},
            "downsample_rate": "1/2",
            "deepstack_layer_map": [(-1, 0)],
            "spatial_target_layers": [1],
            "use_spatial_sampling": False,
        },
        "image": {"image_grid_pinpoints": [[112, 224], [224, 112], [224, 224]]},
        "processor": {
            "patch_size": 14,
            "downsample_rate": "1/2",
            "vision_feature_select_strategy": "full",
        },
    },
    "granite_docling": {
        **IDEFICS,
        "processor": {"image_seq_len": 1},
    },
    "hunyuan_vl": {"config": mrope(2, 2, 2, 2, head_dim=16), **FRAMED},
    "idefics2": {**IDEFICS},
    "idefics3": {
        **IDEFICS,
        "processor": {"image_seq_len": 4},
        "image": {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 128}},
    },
    "inkling2": {"image": {"size": {"height": 40, "width": 40}}},
    "instructblip": BLIP2,
    "janus": {
        "config": {
            "vision_config": {"num_image_tokens": 16, "projection_dim": 64},
            "vq_config": {
                "embed_dim": 8,
                "num_embeddings": 32,
                "base_channels": 32,
                "channel_multiplier": [1, 1],
                "latent_channels": 32,
                "num_patches": 4,
                "projection_dim": 64,
                "image_token_embed_dim": 64,
            },
        },
        "processor": {"num_image_tokens": 16},
    },
    "kosmos-2": {
        "processor_class": "Kosmos2Processor",
        "processor": {"num_patch_index_tokens": 4},
        "config": {"text_config": {"embed_dim": 64}},
        "template": {"image": ""},
    },
    "kosmos-2.5": {
        "processor_class": "Kosmos2_5Processor",
        "processor": {"num_image_tokens": 16},
        "config": {
            "latent_query_num": 16,
            "text_config": {"embed_dim": 64},
            "vision_config": {
                "patch_embed_hidden_size": 768,
                "max_num_patches": 4096,  # which its processor cuts every picture into
                "num_hidden_layers": 1,
                "num_attention_heads": 1,
                "head_dim": 64,
            },
        },
        "template": {"image": ""},
    },
    "llama4": {
        "tokens": {
            "image_token": "<|image|>",
            "image_start_token": "<|image_start|>",
            "image_end_token": "<|image_end|>",
            "patch_token": "<|patch|>",
        },
        "config": {
            "image_token_index": "<|patch|>",
            "vision_config": {
                "intermediate_size": 256,
                "projector_input_dim": 64,
                "projector_output_dim": 64,
                "vision_output_dim": 64,
            },
        },
    },
    "llava": {"processor": LLAVA},
    "llava_next": {
        "processor": LLAVA,
        "config": {"image_grid_pinpoints": GRID},
        "image": {"image_grid_pinpoints": GRID},
    },
    "mistral3": MISTRAL,
    "mistral_large4": MISTRAL,
    "mllama": {
        "start": "<s>",
        "tokens": {"image_token": "<|image|>", "python_token": "<|python_tag|>"},
        "config": {
            "vision_config": {"intermediate_layers_indices": [0], "vision_output_dim": 128},
            "text_config": {"cross_attention_layers": [1]},
        },
    },
    "ovis2": {
        "tokens": {"image_pad_token": "<IMG_ATOM>"},
        "config": {"image_token_id": "<IMG_ATOM>"},
        "processor": {"image_seq_length": 16},
    },
    "paddleocr_vl": {"config": MROPE, **FRAMED},
    "paligemma": {
        "image": {"image_seq_length": 16},
        "config": {"text_config": {"vocab_size": 2048}},  # its processor adds words for places
    },
    "pix2struct": {"config": {"vision_config": {"patch_embed_hidden_size": 768}}},
    "pp_chart2table": {"config": {"vision_config": SAM}},
    "qianfan_ocr": {
        "config": {"vision_config": {"image_size": [56, 56]}, "image_seq_length": 4},
        "processor": {"image_seq_length": 4},
        "image": {"size": {"height": 56, "width": 56}},
    },
    "step3p7": {"tokens": {"image_token": "<im_patch>"}, "config": {"text_config": {"sliding_window": 64}}},
    "t5gemma2": {
        "config": {"encoder": {"mm_tokens_per_image": 4}},
        "processor": {"image_seq_length": 4},
        "template": {"image": "<boi>"},
        "image": {"size": {"height": 64, "width": 64}},
    },
    "unlimited_ocr": {
        "config": {
            "vision_config": {"sam_config": {**SAM, "downsample_channels": [32, 64]}},
            "text_config": {
                "mlp_layer_types": ["dense", *["sparse"] * 3],
                "moe_intermediate_size": 32,
                "num_experts_per_tok": 2,
            },
        },
    },
    "vipllava": {"processor": LLAVA, "config": {"vision_feature_layers": [-2, -1]}},
    "vision-encoder-decoder": {
        "processor_class": "TrOCRProcessor",
        "image_class": "ViTImageProcessor",
        "image": {"size": {"height": 64, "width": 64}},
        "config": {
            "encoder": {},
            "decoder": {"is_decoder": True, "add_cross_attention": True},
            "decoder_start_token_id": "<s>",
            "pad_token_id": "<pad>",
        },
    },
}
