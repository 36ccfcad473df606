"""What each type that hears needs beside the rules."""

from typing import Any

from benchmarks.multimodal.families import (
    FRAMED,
    MUSE,
    OMNI,
)

SOUNDS: dict[str, dict[str, Any]] = {
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
    "gemma4": {
        "tokens": {"video_token": "<|video|>"},
        "config": {
            "vision_config": {"position_embedding_size": 64},
            "audio_config": {},
            "text_config": {"per_layer_config": {}},
        },
    },
    "gemma4_unified": {
        "tokens": {"video_token": "<|video|>"},
        "config": {
            "vision_config": {"mm_embed_dim": 64, "output_proj_dims": 64},
            "audio_config": {"audio_embed_dim": 640, "output_proj_dims": 640},
            "text_config": {"per_layer_config": {}},
        },
    },
    "glmasr": {"tokens": {"audio_token": "<|pad|>"}, "audio": {"feature_size": 128}},
    "inkling_mm_model": {
        "image": {"size": {"height": 40, "width": 40}},
        "tokens": {
            "image_token": "<|unused_200054|>",
            "audio_token": "<|unused_200053|>",
            "image_bos_token": "<|content_image|>",
            "audio_bos_token": "<|content_audio_input|>",
        },
        "config": {"audio_config": {"mel_vocab_size": 16}},
    },
    "moss_transcribe_diarize": {
        "tokens": {
            "audio_token": "<|audio_pad|>",
            "audio_bos_token": "<|audio_start|>",
            "audio_eos_token": "<|audio_end|>",
        }
    },
    "muse_spark": {
        **MUSE,
        "config": {
            "out_hidden_size": 256,
            "audio_config": {"num_hidden_layers": 4, "hidden_sizes": [8, 16, 32, 64], "depths": [1, 1, 1, 1]},
        },
    },
    "nemo_speechlm": {"audio": {"feature_size": 128}, "tokens": {"audio_token": "<|audio|>"}},
    "nemotron_h_omni": {
        "video": {"norm_mean": [0.5] * 3, "norm_std": [0.5] * 3},
        "audio_class": "ParakeetFeatureExtractor",
        "tokens": {
            "audio_token": "<so_embedding>",
            "audio_start_token": "<so_start>",
            "audio_end_token": "<so_end>",
            "image_start_token": "<img>",
            "image_end_token": "</img>",
        },
        "config": {
            "audio_config": {
                "model_type": "parakeet_encoder",
                "projection_hidden_size": 64,
                "projection_bias": False,
            }
        },
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
    "qwen2_5_omni": {"model_type": "qwen2_5_omni_thinker", "processor_class": "Qwen2_5OmniProcessor", **OMNI},
    "qwen2_5_omni_thinker": {"processor_class": "Qwen2_5OmniProcessor", **OMNI},
    "qwen2_audio": {"audio": {"feature_size": 128}, **FRAMED},
    "qwen3_omni_moe": {"model_type": "qwen3_omni_moe_thinker", "processor_class": "Qwen3OmniMoeProcessor", **OMNI},
    "qwen3_omni_moe_thinker": {"processor_class": "Qwen3OmniMoeProcessor", **OMNI},
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
}
