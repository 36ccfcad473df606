"""Flags that do nothing beside the others: whoever typed one expects something of it, so the command says what gives
it its effect. Only what was typed counts, and asks for something (`--split_dataset_ratio 0` does not); a recipe or
params.yaml may hold settings for another day."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from components.config import LEAVES, Params
from components.config.fields import Group
from components.config.groups.distillation import Distillation
from components.config.groups.freezing import Freezing
from components.config.groups.lmdeploy import Lmdeploy
from components.config.groups.multimodal import Multimodal
from components.config.groups.ppo import Ppo
from components.config.groups.reward import Reward
from components.config.groups.run import Run
from components.config.groups.sglang import Sglang
from components.config.groups.validation import Validation
from components.config.groups.vllm import Vllm
from components.errors import ConfigError
from components.export import quantizers
from components.models import QUANTIZATIONS
from components.tuners import TUNERS
from tasks.stages import methods
from tasks.stages.paths import plugin_files


class Condition(NamedTuple):
    """When the parameters `names` have an effect, and how the command line reads when they have none."""

    names: str
    holds: Callable[[Params], Any]
    otherwise: str


def _may_be(method: str) -> Callable[[Params], bool]:
    """Return a condition: the base is quantized by `method`, or by a plugin, which may read the same parameters."""
    others = {*QUANTIZATIONS.names(), None} - {method}
    return lambda params: params.quantization.quant_method not in others


def _is_engine(name: str) -> Callable[[Params], bool]:
    return lambda params: params.generation.infer_backend == name


def _is_task(task_type: str) -> Callable[[Params], bool]:
    return lambda params: params.method.task_type == task_type


def _aligns(*methods: str) -> Callable[[Params], bool]:
    return lambda params: params.method.name in methods


def _limits_seconds(validation: Validation) -> Any:
    return validation.max_audio_seconds or validation.max_video_seconds


OF_ONE_LOSS = ("seq_cls", "rm", "simpo", "orpo", "rloo", "ppo", "gkd")
"""Methods whose loss is not chosen."""
OF_ROLLOUTS = ("num_generations", "overlong_filter", "log_completions", "multi_turn_scheduler", "max_turns",
               "use_vllm")  # fmt: skip
OF_COLOCATION = ("vllm_gpu_memory_utilization", "vllm_max_model_len", "vllm_enforce_eager", "vllm_engine_kwargs")
"""Parameters of the vLLM that a training starts."""
OF_ALIGNMENT = {
    ("dpo",): "loss_weights rpo_alpha ld_alpha reference_free f_divergence_type f_alpha_divergence_coef discopop_tau",
    ("dpo", "cpo", "simpo"): "label_smoothing",
    ("dpo", "cpo", "simpo", "orpo", "kto", "grpo", "rloo", "gkd"): "beta",
    ("dpo", "kto", "grpo", "rloo", "ppo"): "ref_model",
    ("cpo", "simpo"): "cpo_alpha",
    ("simpo",): "simpo_gamma",
    ("kto",): "desirable_weight undesirable_weight",
    ("rm",): "center_rewards_coefficient",
    ("grpo",): "scale_rewards importance_sampling_level",
    ("grpo", "rloo"): "num_iterations epsilon epsilon_high delta dynamic_sample",
    ("grpo", "rloo", "ppo"): f"{' '.join(Reward.model_fields)} {' '.join(OF_ROLLOUTS)}",
    ("grpo", "rloo", "ppo", "gkd"): "max_completion_length temperature top_k top_p repetition_penalty stop_words",
    ("ppo",): " ".join(Ppo.model_fields),
    ("gkd",): " ".join(Distillation.model_fields),
}
"""Parameters of alignment, by the methods that read them."""
QUANTIZED = (
    Condition(
        "bnb_4bit_quant_type bnb_4bit_compute_dtype bnb_4bit_use_double_quant",
        lambda params: params.quantization.quant_bits == 4 or not _may_be("bnb")(params),
        "with --quant_bits 8",
    ),
    Condition(
        "bnb_4bit_quant_type bnb_4bit_compute_dtype bnb_4bit_use_double_quant",
        _may_be("bnb"),
        "without --quant_method bnb",
    ),
    Condition("hqq_axis hqq_group_size", _may_be("hqq"), "without --quant_method hqq"),
    Condition("quant_bits", lambda params: params.quantization.quant_method, "without --quant_method"),
)
TRAINING = (
    *QUANTIZED,
    Condition("packing_length packing_strategy", lambda params: params.train.packing, "without --packing true"),
    Condition("eval_strategy eval_delay eval_on_start metric_for_best_model greater_is_better load_best_model_at_end "
              "early_stop_interval predict_with_generate",
              lambda params: params.data.val_dataset or params.data.split_dataset_ratio,
              "without --val_dataset or --split_dataset_ratio"),
    Condition("eval_steps eval_delay load_best_model_at_end early_stop_interval metric_for_best_model",
              lambda params: params.train.eval_strategy != "no", "with --eval_strategy no"),
    Condition("eval_metric max_new_tokens", lambda params: params.train.predict_with_generate,
              "without --predict_with_generate true"),
    Condition("predict_with_generate", lambda params: params.method.name != "pt", "in `martlet pt`: a text is no "
              "prompt"),
    Condition("eval_steps", lambda params: params.train.eval_strategy != "epoch", "with --eval_strategy epoch"),
    Condition("save_steps", lambda params: params.train.save_strategy == "steps", "without --save_strategy steps"),
    Condition("adam_beta1 adam_beta2", lambda params: params.train.optimizer not in ("adafactor", "sgd"),
              "with --optimizer adafactor or sgd"),
    Condition("adam_epsilon", lambda params: params.train.optimizer not in ("adafactor", "lion", "sgd"),
              "with --optimizer adafactor, lion or sgd"),
    Condition("galore_queue_size galore_cos_threshold galore_gamma_proj galore_proj_quant",
              lambda params: params.galore.galore_quantization, "without --galore_quantization true"),
    Condition("galore_proj_bits galore_proj_group_size", lambda params: params.galore.galore_proj_quant,
              "without --galore_proj_quant true"),
    Condition("label_smoothing_factor", lambda params: params.train.loss_type != ["dft"], "with --loss_type dft"),
    Condition("label_smoothing_factor loss_scale response_suffix", _is_task("causal_lm"), "with --task_type seq_cls or "
              "embedding"),
    Condition("loss_type", lambda params: params.method.name not in OF_ONE_LOSS,
              f"with --task_type seq_cls or --rlhf_type {' or '.join(OF_ONE_LOSS[1:])}"),
    Condition("label_smoothing_factor", lambda params: not params.method.rlhf_type, "in `martlet rlhf`, which has "
              "--label_smoothing"),
    *(Condition(names, _aligns(*methods), f"without --rlhf_type {' or '.join(methods)}")
      for methods, names in OF_ALIGNMENT.items()),
    Condition("ref_model", lambda params: not params.preference.reference_free, "with --reference_free true"),
    Condition("ref_model", lambda params: params.preference.beta != 0 or params.method.name == "ppo", "with --beta 0"),
    Condition("ref_model", lambda params: params.ppo.kl_coef or params.method.name != "ppo", "with --kl_coef 0"),
    Condition("max_turns", lambda params: params.rollout.multi_turn_scheduler, "without --multi_turn_scheduler"),
    Condition(f"vllm_mode vllm_server_base_url vllm_importance_sampling_correction vllm_importance_sampling_cap "
              f"{' '.join(OF_COLOCATION)}", lambda params: params.rollout.use_vllm, "without --use_vllm true"),
    Condition(f"{' '.join(OF_COLOCATION)}", lambda params: params.rollout.vllm_mode == "colocate",
              "with --vllm_mode server"),
    Condition("vllm_server_base_url", lambda params: params.rollout.vllm_mode == "server",
              "without --vllm_mode server"),
    Condition("vllm_importance_sampling_cap", lambda params: params.rollout.vllm_importance_sampling_correction,
              "with --vllm_importance_sampling_correction false"),
    Condition("seq_kd sft_alpha", lambda params: params.distillation.lmbda < 1, "with --lmbda 1"),
    Condition("max_resample_times", lambda params: params.rollout.dynamic_sample, "without --dynamic_sample true"),
    Condition("discopop_tau", lambda params: "discopop" in params.train.loss_type, "without --loss_type discopop"),
    Condition("f_alpha_divergence_coef", lambda params: params.preference.f_divergence_type == "alpha_divergence",
              "without --f_divergence_type alpha_divergence"),
    Condition("num_labels problem_type ignore_mismatched_sizes", _is_task("seq_cls"), "without --task_type seq_cls"),
    Condition("infonce_temperature infonce_use_batch contrastive_margin", _is_task("embedding"),
              "without --task_type embedding"),
    Condition("system enable_thinking use_chat_template norm_bbox qwenvl_bbox_format",
              lambda params: params.method.task_type != "embedding",
              "with --task_type embedding, which takes texts as they are"),
    Condition("shuffle_buffer_size", lambda params: params.data.streaming, "without --streaming true"),
    Condition("val_dataset_shuffle", lambda params: params.data.val_dataset, "without --val_dataset"),
    Condition("split_dataset_ratio", lambda params: not params.data.val_dataset, "with --val_dataset"),
    Condition("stopping_strategy", lambda params: params.data.interleave_prob, "without --interleave_prob"),
    Condition("lora_rank use_rslora init_weights", lambda params: params.tuner.tuner_type != "adalora",
              "with --tuner_type adalora, whose ranks are --adalora_init_r and --adalora_target_r"),
    Condition("trainable_parameters trainable_parameters_regex", lambda params: _freezes(params.freezing),
              "without --freeze_parameters, --freeze_parameters_regex or --freeze_parameters_ratio"),
    Condition("modules_to_save", lambda params: params.tuner.tuner_type != "full",
              "with --tuner_type full"),
    Condition("output_dir", lambda params: _is_of_output(params.run), "with --resume_from_checkpoint: the run goes on "
              "in its own folder"),
    Condition("resume_only_model", lambda params: params.run.resume_from_checkpoint,
              "without --resume_from_checkpoint"),
    Condition("system enable_thinking loss_scale response_suffix norm_bbox qwenvl_bbox_format",
              lambda params: params.method.name != "pt",
              "in `martlet pt`, which learns every token of a text"),
    Condition("on_duplicate on_near_duplicate on_contradiction on_leak on_labels on_similar_pictures",
              lambda params: not params.data.streaming, "with --streaming true, which sees a row at a time"),
    Condition("experiment_name", lambda params: {*params.tracking.report_to} - {"none", "tensorboard"},
              "with --report_to none or tensorboard"),
    Condition("eval_limit eval_num_proc eval_generation_config", lambda params: params.data.eval_dataset,
              "without --eval_dataset"),
    Condition("on_language", lambda params: params.validation.languages, "without --languages"),
    Condition("languages", lambda params: params.validation.on_language != "ignore", "with --on_language ignore"),
    Condition("max_chars", lambda params: params.validation.on_long != "ignore", "with --on_long ignore"),
    Condition("max_audio_seconds max_video_seconds", lambda params: params.validation.on_media_long != "ignore",
              "with --on_media_long ignore"),
    Condition("on_media_long", lambda params: _limits_seconds(params.validation),
              "without --max_audio_seconds or --max_video_seconds"),
    Condition("max_pair_ratio", lambda params: params.validation.on_pairs != "ignore", "with --on_pairs ignore"),
    Condition("near_threshold", lambda params: params.validation.on_near_duplicate != "ignore",
              "with --on_near_duplicate ignore"),
    Condition("min_label_share", lambda params: params.validation.on_labels != "ignore", "with --on_labels ignore"),
)  # fmt: skip
ANSWERING = (
    Condition("result_path model_name model_author", lambda params: params.data.val_dataset, "without --val_dataset"),
    Condition("stream", lambda params: not params.data.val_dataset, "with --val_dataset"),
    Condition("images videos audios", lambda params: not params.data.val_dataset, "with --val_dataset, whose rows have "
              "their own"),
    Condition("root_image_dir", lambda params: params.data.val_dataset, "without --val_dataset"),
)  # fmt: skip
EXPORT = (
    Condition("merge_tolerance max_shard_size", lambda params: params.run.merge_lora, "without --merge_lora true"),
    Condition("quant_method", lambda params: not params.export.to_ollama, "with --to_ollama true, whose `ollama create "
              "--quantize q4_K_M` quantizes"),
    Condition("hub_model_id hub_private_repo commit_message", lambda params: params.export.push_to_hub,
              "without --push_to_hub true"),
    Condition("min_agreement dataset", lambda params: params.quantization.quant_method, "without --quant_method"),
    Condition("quant_bits", lambda params: params.quantization.quant_method in quantizers.METHODS,
              f"without --quant_method {' or '.join(quantizers.METHODS)}"),
    Condition("max_length val_dataset", lambda params: params.data.dataset, "without --dataset"),
)  # fmt: skip
CALIBRATION = "group_size quant_n_samples quant_batch_size"


def export(calibrates: bool) -> tuple[Condition, ...]:
    """Return the conditions of an export with a quantizer that reads rows, or not."""
    return (*EXPORT, Condition(CALIBRATION, lambda _: calibrates, "without --quant_method gptq or awq"))


PROGRAMS: dict[str, type[Group]] = {"vllm": Vllm, "lmdeploy": Lmdeploy, "sglang": Sglang}
"""Parameters of the engines that are programs of their own."""
OF_PROGRAMS = tuple(
    Condition(" ".join(group.model_fields), _is_engine(name), f"without --infer_backend {name}")
    for name, group in PROGRAMS.items()
)
SERVING = (
    *OF_PROGRAMS,
    Condition(f"max_media_pixels max_media_seconds {' '.join(Multimodal.model_fields)} max_batch_size attn_impl "
              "allow_runtime_lora_updating",
              lambda params: params.generation.infer_backend not in PROGRAMS, "with --infer_backend vllm, lmdeploy or "
              "sglang"),
)  # fmt: skip
PROBING = (
    Condition("probe_questions probe_max_lost probe_timeout", lambda _: False, "with --model or --adapters: only a "
              "champion has successors, which are probed"),
)  # fmt: skip

SAMPLING = (
    *OF_PROGRAMS,
    Condition("n_best_to_keep", lambda params: params.sample.sample_format == "messages",
              "with --sample_format preference, which keeps one pair for each prompt"),
)  # fmt: skip
EVALUATING = (
    *OF_PROGRAMS,
    Condition("model model_revision trust_remote_code adapters merge_lora infer_backend max_batch_size max_model_len "
              "torch_dtype attn_impl quant_method system enable_thinking use_chat_template",
              lambda params: not params.run.eval_url, "with --eval_url, whose server has loaded its model"),
    Condition("served_model_name", lambda params: params.run.eval_url, "without --eval_url"),
)  # fmt: skip
ENCODING = (
    Condition("max_new_tokens temperature top_k top_p repetition_penalty stop_words allow_runtime_lora_updating",
              lambda _: False, "with a model that writes no text"),
)  # fmt: skip
"""Of a classifier or an embedding."""


def idle(typed: Iterable[str], params: Params, conditions: Iterable[Condition]) -> list[str]:
    """Return a sentence for each of the parameters `typed` that has no effect beside `params`."""
    names = set(typed)
    return [
        f"--{name} has no effect {condition.otherwise}"
        for condition in conditions
        for name in condition.names.split()
        if name in names and _asks_for_something(name, params) and not condition.holds(params)
    ]


def _asks_for_something(name: str, params: Params) -> bool:
    value = getattr(getattr(params, LEAVES[name].group), name)
    return value not in (None, False, 0, "ignore", "no", [])


def _freezes(freezing: Freezing) -> bool:
    return bool(freezing.freeze_parameters or freezing.freeze_parameters_regex or freezing.freeze_parameters_ratio)


def _is_of_output(run: Run) -> bool:
    """Return whether the run writes into the output folder: it is a new one, or goes on there."""
    if not run.resume_from_checkpoint or run.resume_only_model or run.resume_from_checkpoint == "auto":
        return True
    return Path(run.resume_from_checkpoint).resolve().is_relative_to(Path(run.output_dir).resolve())


def idle_in_training(typed: Iterable[str], params: Params, root: Path) -> list[str]:
    """Return such a sentence for a training, whose methods read parameters of their own."""
    names, tuner = list(typed), params.tuner.tuner_type
    sentences = idle(names, params, TRAINING) + methods.unread(names, params, root)
    if "target_modules" in names and not TUNERS.constant(tuner, "TARGETS", True, plugin_files(params, root)):
        sentences.append(f"--target_modules has no effect with --tuner_type {tuner}")
    return sentences


def require(typed: Iterable[str], params: Params, conditions: Iterable[Condition]) -> None:
    """Check that what was typed has an effect.

    Raises:
        ConfigError: naming every parameter that has none.
    """
    if sentences := idle(typed, params, conditions):
        raise ConfigError("\n".join(sentences))
