"""What each type needs beside the rules."""

from typing import Any

ROPE = {"rope_type": "default", "rope_theta": 10000.0}


def mrope(*section: int, **more: Any) -> dict[str, Any]:
    """Return a text part's values with angles for time, height and width; half a head in all."""
    return {"text_config": {"rope_parameters": {**ROPE, "mrope_section": list(section)}, **more}}


MROPE = mrope(2, 3, 3)
QWEN_IMAGE, QWEN_VIDEO = "Qwen2VLImageProcessor", "Qwen3VLVideoProcessor"
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

TYPES: dict[str, dict[str, Any]] = {
    "deepseek_ocr2": {
        "config": {
            "vision_config": {"sam_config": {**SAM, **LARGE, "downsample_channels": [32, 64]}},
            "text_config": {"mlp_layer_types": ["dense", "sparse"], "moe_intermediate_size": 32, "num_experts_per_tok": 2},
        },
        "image": {"crop_to_patches": False, "size": {"height": 1024, "width": 1024}},
    },
    "unlimited_ocr": {
        "config": {
            "vision_config": {"sam_config": {**SAM, "downsample_channels": [32, 64]}},
            "text_config": {"mlp_layer_types": ["dense", *["sparse"] * 3], "moe_intermediate_size": 32, "num_experts_per_tok": 2},
        },
    },
    "deepseek_vl_hybrid": {
        "processor": {"num_image_tokens": 16},
        "config": {"high_res_vision_config": SAM},
        "image": {"high_res_size": {"height": 64, "width": 64}},
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
    "got_ocr2": {
        "config": {"vision_config": {**SAM, **LARGE}},
        "tokens": {"image_token": "<imgpad>", "image_start_token": "<img>", "image_end_token": "</img>"},
        "image": {"size": {"height": 1024, "width": 1024}},
    },
    "pp_chart2table": {"config": {"vision_config": SAM}},
    "pp_formulanet": {
        "config": {
            "vision_config": {
                **SAM,
                "post_conv_in_channels": 16,
                "post_conv_mid_channels": 32,
                "post_conv_out_channels": 64,
                "decoder_hidden_size": 64,
            }
        }
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
    "instructblip": BLIP2,
    "instructblipvideo": BLIP2,
    "blip-2": BLIP2,
    "pix2struct": {"config": {"vision_config": {"patch_embed_hidden_size": 768}}},
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
            "vision_config": {"patch_embed_hidden_size": 768, "max_num_patches": 4096},
        },
        "template": {"image": ""},
    },
    "phi4_multimodal": {
        "config": {
            "vision_config": {"image_size": 448},
            "audio_config": {
                "ext_pw_out_channel": 64,
                "depthwise_separable_out_channel": 64,
                "nemo_conv_channels": 16,
            },
        },
        "image": {"dynamic_hd": 1, "size": {"height": 448, "width": 448}},
    },
    "vibevoice_asr": {
        "tokens": {
            "audio_token": "<|box_start|>",
            "audio_bos_token": "<|object_ref_start|>",
            "audio_eos_token": "<|object_ref_end|>",
            "audio_duration_token": "<|AUDIO_DURATION|>",
        },
        "config": {
            "acoustic_tokenizer_encoder_config": {"num_filters": 1, "depths": [1] * 7},
            "semantic_tokenizer_encoder_config": {"num_filters": 1, "depths": [1] * 7},
        },
    },
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
    "inkling_mm_model": {
        "tokens": {"image_token": "<|unused_200054|>", "audio_token": "<|unused_200053|>", "image_bos_token": "<|content_image|>", "audio_bos_token": "<|content_audio_input|>"},
        "config": {"audio_config": {"mel_vocab_size": 16}, "vision_config": {"num_hidden_layers": 4}},
    },
    "nemotron_h_omni": {
        "audio_class": "ParakeetFeatureExtractor",
        "tokens": {"audio_token": "<so_embedding>", "audio_start_token": "<so_start>", "audio_end_token": "<so_end>", "image_start_token": "<img>", "image_end_token": "</img>"},
        "config": {"audio_config": {"model_type": "parakeet_encoder", "projection_hidden_size": 64}},
    },
    "fun_asr_nano": {
        "tokens": {"audio_token": "<|object_ref_start|>"},
        "config": {"adaptor_config": {"intermediate_size": 16}},
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
    "cohere2_vision": {"image": {"patch_size": 2}},
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
    "deepseek_vl": {"processor": {"num_image_tokens": 16}},
    "blip": {"image": {}},
    "dots3_note": {
        "image": {"temporal_patch_size": 1},
        "video": {"temporal_patch_size": 1},
        "tokens": {"image_token": "<|imgpad|>", "video_token": "<|video_pad|>", "audio_token": "<|audio_comp_pad|>"},
        "config": {
            "text_config": {"per_layer_config": {}, "head_dim": 24, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8},
            "vision_config": {"per_layer_config": {}, "adapter_in_dim": 64, "adapter_out_dim": 64},
            "audio_config": {"adapter_input_size": 64, "adapter_out_dim": 64, "conv_output_size": 1024},
        },
    },
    "aria": {
        "config": {
            "vision_config": {"patch_size": 98, "image_size": 980, "hidden_size": 16, "intermediate_size": 32},
            "projector_patch_to_query_dict": {100: 4},
        },
        "processor": {"size_conversion": {980: 4}},
    },
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
    "emu3": {
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
    "ernie4_5_vl_moe": {"video": {"draw_on_frames": False}, "config": mrope(3, 3, 2, moe_intermediate_size=[64, 64]), **FRAMED},
    "fuyu": {"template": {"image": ""}, "tokens": {"bos_token": "<bos>", "image_token": "|SPEAKER|", "image_newline_token": "|NEWLINE|"}},
    "gemma3": GEMMA3,
    "gemma4": {
        "tokens": {"video_token": "<|video|>"},
        "config": {"vision_config": {"position_embedding_size": 64}, "audio_config": {}, "text_config": {"per_layer_config": {}}},
    },
    "gemma4_unified": {
        "tokens": {"video_token": "<|video|>"},
        "config": {
            "vision_config": {"mm_embed_dim": 64, "output_proj_dims": 64},
            "audio_config": {"audio_embed_dim": 640, "output_proj_dims": 640},
            "text_config": {"per_layer_config": {}},
        },
    },
    "glm4v": GLM,
    "glm46v": GLM,
    "glm4v_moe": {**GLM, "config": mrope(2, 1, 1), "image_class": "Glm4vImageProcessor", "video_class": "Glm4vVideoProcessor"},
    "glm5_next": {**GLM, "config": {}},
    "glm_ocr": GLM | GLM46,
    "glmga": {**GLM, "processor_class": "Glm46VProcessor"},
    "granite_docling": {
        **IDEFICS,
        "processor": {"image_seq_len": 1},
    },
    "inkling2": {"image": {"size": {"height": 40, "width": 40}}},
    "hunyuan_vl": {"config": mrope(2, 2, 2, 2, head_dim=16), **FRAMED},
    "idefics2": {**IDEFICS},
    "idefics3": {**IDEFICS, "processor": {"image_seq_len": 4}, "image": {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 128}}},
    "smolvlm": {**IDEFICS, "processor": {"image_seq_len": 4}, "video": {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 128}}, "image": {"size": {"longest_edge": 128}, "max_image_size": {"longest_edge": 128}}},
    "internvl": {
        "config": {"vision_config": {"image_size": [56, 56]}, "image_seq_length": 4},
        "processor": {"image_seq_length": 4},
        "image": {"size": {"height": 56, "width": 56}},
    },
    "qianfan_ocr": {
        "config": {"vision_config": {"image_size": [56, 56]}, "image_seq_length": 4},
        "processor": {"image_seq_length": 4},
        "image": {"size": {"height": 56, "width": 56}},
    },
    "kimi_k25": {**FRAMED},
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
    "vipllava": {"processor": LLAVA, "config": {"vision_feature_layers": [-2, -1]}},
    "llava_next": {
        "processor": LLAVA,
        "config": {"image_grid_pinpoints": GRID},
        "image": {"image_grid_pinpoints": GRID},
    },
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
    "video_llava": {
        "processor": LLAVA,
        "image": {"size": {"shortest_edge": 56}, "crop_size": {"height": 56, "width": 56}},
    },
    "minimax_m3_vl": {
        "tokens": {
            "image_token": "]<]image[>[",
            "video_token": "]<]video[>[",
            "vision_start_token": "]<]start of image[>[",
            "vision_end_token": "]<]end of image[>[",
        }
    },
    "mistral3": MISTRAL,
    "mistral_large4": MISTRAL,
    "mllama": {
        "tokens": {"image_token": "<|image|>", "python_token": "<|python_tag|>"},
        "config": {
            "vision_config": {"intermediate_layers_indices": [0], "vision_output_dim": 128},
            "text_config": {"cross_attention_layers": [1]},
        },
    },
    "molmo2": {
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
    "muse_spark": {
        **MUSE,
        "config": {
            "out_hidden_size": 256,
            "audio_config": {"num_hidden_layers": 4, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]},
        },
    },
    "ovis2": {"tokens": {"image_pad_token": "<IMG_ATOM>"}, "config": {"image_token_id": "<IMG_ATOM>"}, "processor": {"image_seq_length": 16}},
    "paddleocr_vl": {"config": MROPE, **FRAMED},
    "paligemma": {"image": {"image_seq_length": 16}},
    "qwen2_vl": {"config": MROPE, **FRAMED},
    "qwen2_5_vl": {"config": MROPE, **FRAMED},
    "qwen3_vl": {"config": MROPE, **FRAMED},
    "qwen3_5": {"config": mrope(2, 1, 1, head_dim=32), **FRAMED},
    "qwen3_5_moe": {"config": mrope(2, 1, 1, head_dim=32), **FRAMED},
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
    "qwen2_5_omni_thinker": {"processor_class": "Qwen2_5OmniProcessor", **OMNI},
    "qwen3_omni_moe_thinker": {"processor_class": "Qwen3OmniMoeProcessor", **OMNI},
    "qwen2_5_omni": {"model_type": "qwen2_5_omni_thinker", "processor_class": "Qwen2_5OmniProcessor", **OMNI},
    "qwen3_omni_moe": {"model_type": "qwen3_omni_moe_thinker", "processor_class": "Qwen3OmniMoeProcessor", **OMNI},
    "shieldgemma2": GEMMA3,
    "step3p7": {"tokens": {"image_token": "<im_patch>"}, "config": {"text_config": {"sliding_window": 64}}},
    "t5gemma2": {
        "config": {"encoder": {"mm_tokens_per_image": 4}},
        "processor": {"image_seq_length": 4},
        "template": {"image": "<boi>"},
        "image": {"size": {"height": 64, "width": 64}},
    },
    "nemo_speechlm": {"audio": {"feature_size": 128}, "tokens": {"audio_token": "<|audio|>"}},
    "glmasr": {"tokens": {"audio_token": "<|pad|>"}, "audio": {"feature_size": 128}},
    "moss_transcribe_diarize": {
        "tokens": {
            "audio_token": "<|audio_pad|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
        }
    },
    "qwen2_audio": {"audio": {"feature_size": 128}, **FRAMED},
    "voxtral": {"audio": {"feature_size": 128}},
}
