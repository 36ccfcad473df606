"""Tiny random models of every causal type that transformers has."""

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

VOCABULARY, WIDTH, HEADS, LAYERS, LAYERS_OF_SEVERAL_KINDS = 160, 64, 4, 2, 4
LARGEST = 10_000_000
"""Parameters of a model that still counts as tiny."""
SIZES = {
    r"(decoder_|unpadded_|pronunciation_|shape_)?vocab_size(_per_layer_input)?": VOCABULARY,
    r"hidden_size(_global)?|d_model|n_embd|dim|emb_dim|embedding_(size|dim)|word_embed_proj_dim|hidden_dim|lru_width"
    r"|attention_hidden_size|backbone_hidden_size|out_hidden_size|embed_dim|ple_embed_dim": WIDTH,
    r".*intermediate_size(_mlp)?|.*ffn_dim|.*ffn_hidden_size|d_ff|dff|dim_ff|n_inner|d_inner|mamba_d_ssm": 128,
    r"(.*_)?(num_)?(attention_)?heads|(.*_)?n_heads?|linear_num_value_heads": HEADS,
    r"(.*_)?(num_)?(key_value|kv)_heads|kv_n_heads|linear_num_key_heads|num_query_groups": 2,
    r"(.*_)?head_dim|kv_channels|dim_head|d_head|linear_(key|value)_head_dim|d_kv|mamba_d_head|mamba_headdim": 16,
    r"qk_head_dim": 24,
    r"qk_rope_head_dim": 8,
    r"(num_hidden|num|encoder|decoder|num_decoder|num_encoder|n)_layers?|depth|num_blocks": LAYERS,
    r"(n_routed_|num_local_|num_|moe_num_)experts": 4,
    r"num_experts_per_tok(en)?|moe_top_?k|moe_k|topk_group|n_group|num_expert_group|hc_(mult|count)|o_groups": 2,
    r".*_rank|d_rel|hc_lowrank": 16,
    r"max_position_embeddings|n_positions|n_ctx|max_seq_len|model_max_length|max_target_positions|context_length": 128,
    r"original_max_position_embeddings": 64,
    r".*sliding_window(_size)?|.*window_size|local_attention|.*attention_chunk_size|index_topk": 8,
    r"(mamba_)?chunk_size|block_size|rotary_dim": 8,
    r"(mamba_)?d_state|state_size|ssm_state_size|mamba_d_state": 8,
    r"n_groups|mamba_n_?groups": 2,
    r".*_token_(id|index)": 1,
}
"""Size by the name of a configuration's value."""
HINTS: dict[str, dict[str, Any]] = {
    "bailing_hybrid": {"layer_group_size": 2},
    "bamba": {"mamba_d_head": 32},
    "deepseek_v2": {"n_routed_experts": 4, "num_experts_per_tok": 2, "topk_method": "greedy"},
    "dots1": {"n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1},
    "dots3_note_text": {"per_layer_config": {}},
    "falcon_h1": {"mamba_d_head": 32},
    "gemma3n_text": {"num_kv_shared_layers": 0},
    "gemma3n": {"text_config": {"num_kv_shared_layers": 0}},
    "gpt_neo": {"attention_types": [[["global", "local"], 1]]},
    "granitemoehybrid": {"mamba_d_head": 32},
    "hunyuan_v1_dense": {"head_dim": 16},
    "hunyuan_v1_moe": {"head_dim": 16},
    "recurrent_gemma": {"num_hidden_layers": 3},
    "reformer": {
        "axial_pos_embds_dim": [32, 32],
        "axial_pos_shape": [8, 16],
        "attn_layers": ["local", "lsh"],
        "attention_head_size": 16,
        "feed_forward_size": 96,
    },
    "kimi_linear": {"layer_types": ["linear_attention", "full_attention"], "num_hidden_layers": 2},
    "mamba2": {"head_dim": 32},
    "ministral": {"head_dim": 16},
    "nemotron": {"num_key_value_heads": 2},
    "lfm2_moe": {"layer_types": ["conv", "full_attention"], "num_hidden_layers": 2},
    "jamba": {"attn_layer_period": 2, "attn_layer_offset": 1},
}
"""What some types need beside or instead of the rules."""


def causal_types() -> Mapping[str, str]:
    """Return the class of each model type that transformers has a causal language model for."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES

    return MODEL_FOR_CAUSAL_LM_MAPPING_NAMES


def tiny(model_type: str) -> "PreTrainedModel":
    """Return a random model of a type, in float32; what starts as zero is random too, so that all layers matter."""
    import torch
    from transformers import CONFIG_MAPPING, AutoModelForCausalLM

    config = _config(CONFIG_MAPPING[model_type], HINTS.get(model_type, {}))
    with torch.device("meta"):
        size = AutoModelForCausalLM.from_config(config).num_parameters()
    if size > LARGEST:
        raise ValueError(f"the sizes of {model_type} are not known here: {size:,} parameters")
    model = AutoModelForCausalLM.from_config(config, dtype=torch.float32)
    for weight in model.parameters():
        if weight.dim() > 1 and not weight.any():
            torch.nn.init.normal_(weight, std=0.02)
    return model


def _config(config_class: "type[PreTrainedConfig]", hints: dict[str, Any]) -> "PreTrainedConfig":
    from transformers import CONFIG_MAPPING

    default = config_class().to_dict()
    sizes = {name: _size(name, value, default) for name, value in default.items()}
    values = {name: size for name, size in sizes.items() if size is not None} | hints
    for name, part in config_class.sub_configs.items():
        if isinstance(default.get(name), dict):
            part_class = part if hasattr(part, "sub_configs") else CONFIG_MAPPING[default[name]["model_type"]]
            values[name] = _config(part_class, hints.get(name, {}))
    if "is_decoder" in default:
        values["is_decoder"] = True
    return config_class(**values)


def _size(name: str, value: Any, default: dict[str, Any]) -> int | None:
    if not isinstance(value, int) or isinstance(value, bool) or value <= 1:
        return None
    size = next((size for pattern, size in SIZES.items() if re.fullmatch(pattern, name)), None)
    if size == LAYERS and "layer" in name and {"layer_types", "layers_block_type"} & default.keys():
        return LAYERS_OF_SEVERAL_KINDS
    return size
