"""Every flag of every command is seen to have an effect by a test that is named here.

A parameter of the stages is named by itself: `sft`, `pt`, `run` and `data` run the same stages. Flags of another
command stand behind its name and a colon.
"""

import re
from fnmatch import fnmatch
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

from apps.cli.main import NAMES
from apps.cli.parser import parser_of
from components.config import LEAVES
from components.config.groups.gate import Gate
from tests.commands import martlet
from tests.components.evaluation.test_gate import decide, records
from tests.tasks.stages.test_flags import DATA, TRAIN

ROOT = Path(__file__).parents[2]
STAGES = ("sft", "pt", "rlhf", "run", "data")
"""Commands whose parameters are those of the stages."""
SEEN = {
    "apps/test_classification.py": {
        "test_a_classifier_is_trained_further_or_its_other_classes_are_named": "ignore_mismatched_sizes",
    },
    "apps/test_cli.py": {
        "test_an_engine_that_is_misspelt_is_answered_in_words": "infer: model infer_backend",
        "test_mistakes_are_answered_in_words": "validate: recipe",
    },
    "apps/test_data_command.py": {
        "test_show_json_gives_one_object_a_row": "data: action json",
        "test_show_prints_a_few_rows_and_writes_a_page_that_runs_nothing": "data: rows html",
        "test_stats_counts_what_is_learned_by_source": "data: plot",
        "test_diff_names_what_changed_whatever_the_format_and_the_order": "data: versions",
        "test_cache_shows_and_prunes_what_stats_left": "cache: action unused_for",
    },
    "apps/test_datasets_command.py": {
        "test_searching_in_words_and_task": "datasets: words task",
        "test_a_single_one_is_shown_whole": "datasets: json",
    },
    "apps/test_flags.py": {
        "test_the_limits_of_the_gate": (
            "max_length_ratio max_empty max_refusals max_malformed max_latency_ratio forbidden_words margins cluster_by"
        ),
        "test_a_recipe_lies_below_the_flags": "sft: config pt: config data: config",
        "test_doctor_in_short": "doctor: short",
    },
    "apps/test_eval_command.py": {
        "test_questions_and_benchmarks_of_a_server": (
            "eval: eval_dataset eval_dataset_args eval_generation_config eval_num_proc eval_output_dir eval_scorer "
            "eval_url columns served_model_name"
        ),
        "test_two_servers_are_compared_question_by_question": "eval: eval_limit compare: models",
        "test_every_benchmark_is_listed_and_its_arguments_are_checked_without_a_network": "eval: list",
    },
    "tasks/test_promotion.py": {
        "test_questions_among_the_training_rows_close_the_gate_unless_max_leaked_allows_them": "max_leaked",
    },
    "apps/test_export_command.py": {
        "test_a_model_that_garbles_is_not_exported_unless_min_agreement_says_so": "export: min_agreement",
        "test_a_modelfile_lies_in_a_folder_of_its_own_and_names_the_model": "export: to_ollama",
        "test_a_model_is_uploaded_to_the_hub_that_takes_it": (
            "export: push_to_hub hub_model_id hub_private_repo commit_message"
        ),
        "test_a_quantizer_calibrates_on_the_datasets_as_the_flags_say": (
            "export: dataset val_dataset max_length group_size quant_n_samples quant_batch_size exist_ok"
        ),
    },
    "apps/test_model_flags.py": {
        "test_a_model_is_loaded_as_the_flags_say": (
            "infer: quant_* bnb_* hqq_* attn_impl external_plugins deploy: quant_* bnb_* hqq_* attn_impl"
        ),
        "test_a_request_without_settings_is_sampled_as_the_flags_say": "deploy: top_k top_p repetition_penalty",
        "test_prompt_and_answer_are_no_longer_than_max_model_len": "deploy: max_model_len",
        "test_as_many_requests_are_generated_together_as_max_batch_size_says": "deploy: max_batch_size",
        "test_an_adapter_is_merged_then_answers_a_file": (
            "infer: merge_lora val_dataset result_path model_name model_author deploy: merge_lora"
        ),
        "test_an_adapter_is_deployed_on_its_base": "deploy: adapters",
        "test_a_merge_by_export_is_checked_and_split_as_the_flags_say": "export: merge_tolerance max_shard_size",
    },
    "apps/test_media_answers.py": {
        "test_a_file_a_pipe_and_a_server_give_the_same_answers": (
            "infer: images videos root_image_dir deploy: limit_mm_per_prompt max_media_pixels max_media_seconds"
        ),
        "test_pictures_are_read_as_in_the_training_or_as_a_flag_says": (
            "infer: max_pixels video_max_pixels fps nframes fps_min_frames fps_max_frames "
            "deploy: max_pixels video_max_pixels fps nframes fps_min_frames fps_max_frames"
        ),
        "test_what_is_not_there_is_told_before_the_model_is_loaded": "infer: audios download_media",
    },
    "apps/test_media_training.py": {
        "test_media_become_as_many_tokens_as_the_flags_say": (
            "max_pixels video_max_pixels fps nframes fps_min_frames fps_max_frames"
        ),
        "test_parts_learn_or_are_frozen_each_at_its_rate": "freeze_vit freeze_aligner freeze_llm vit_lr aligner_lr",
        "test_towers_recompute_or_not_and_learn_the_same": "vit_gradient_checkpointing",
    },
    "components/inference/test_media.py": {
        "test_openais_client_shows_pictures_and_videos": "deploy: allowed_local_media_path",
        "test_allowed_hosts_are_fetched_from": "deploy: allowed_media_domains",
        "test_a_request_has_its_limits": "deploy: max_request_mb",
    },
    "apps/test_models_command.py": {
        "test_a_search_finds_what_has_every_word": "models: json words",
    },
    "apps/test_plugins.py": {
        "test_a_dataset_a_tuner_an_optimizer_a_loss_a_metric_and_a_callback_of_ones_own": "external_plugins",
    },
    "apps/test_alignment.py": {
        "test_answers_are_shown_beside_their_rewards": "log_completions",
        "test_another_reference_model_is_asked_once_and_kept_apart": "ref_model",
    },
    "apps/test_promote_command.py": {
        "test_a_champion_is_made_kept_forced_and_taken_back": (
            "promote: versions version force why registered_model_name rollback: versions to why registered_model_name"
        ),
    },
    "apps/test_registry_command.py": {
        "test_versions_are_promoted_compared_taken_back_checked_and_removed": (
            "registry: action versions json why keep yes"
        ),
        "test_wrong_words_are_a_sentence": "registry: force to version",
        "test_what_is_not_there_is_a_sentence": "registry: registered_model_name",
    },
    "apps/test_reward_models.py": {
        "test_the_reward_is_the_number_that_the_model_gives_for_the_conversation": "reward_model",
    },
    "apps/test_sample_command.py": {
        "test_the_best_answers_are_rows_that_say_where_they_come_from": (
            "sample: n_best_to_keep score_threshold dataset"
        ),
        "test_the_same_command_writes_the_same_file_and_another_seed_another": (
            "sample: seed output_file num_return_sequences"
        ),
        "test_pairs_are_learned_by_dpo": "sample: sample_format",
        "test_a_rows_own_answer_is_what_accuracy_compares_with": "sample: columns",
    },
    "apps/test_streaming_command.py": {
        "test_nothing_of_the_data_is_on_the_disk_and_what_was_left_out_is_told": "streaming",
    },
    "apps/test_training_commands.py": {
        "test_a_dry_run_tells_what_a_training_needs_and_leaves_nothing": (
            "sft: dry_run pt: dry_run rlhf: dry_run rlhf: config"
        ),
        "test_galore_with_lisa_and_lora_plus": "resume_from_checkpoint output_dir add_version",
        "test_auto_goes_on_with_the_newest_run_and_weights_alone_begin_a_new_one": "resume_only_model",
        "test_an_adapter_is_not_merged_into_a_folder_of_quantized_weights": (
            "export: model quant_method quant_bits external_plugins output_dir merge_lora adapters"
        ),
        "test_qlora_trains_merges_by_its_rule_and_answers": "infer: adapters max_new_tokens temperature",
    },
    "components/training/test_preferences.py": {
        "test_a_loss_of_pairs_is_what_its_formula_says": (
            "rlhf_type loss_weights label_smoothing rpo_alpha reference_free f_divergence_type f_alpha_divergence_coef "
            "discopop_tau beta cpo_alpha simpo_gamma"
        ),
        "test_tokens_by_which_an_answer_is_longer_weigh_less": "ld_alpha",
        "test_the_loss_of_judged_answers_is_what_its_formula_says": "desirable_weight undesirable_weight",
        "test_the_loss_of_rewards_is_what_its_formula_says": "center_rewards_coefficient",
    },
    "components/training/test_distillation.py": {
        "test_the_loss_is_what_its_formula_says": "sft_alpha",
        "test_the_answers_that_are_learned_are_those_of_the_student_of_the_teacher_or_of_the_data": "lmbda seq_kd",
        "test_another_teacher_is_another_run": "teacher_model",
    },
    "components/training/test_policies.py": {
        "test_a_loss_of_sampled_answers_is_what_its_formula_says": (
            "num_iterations epsilon epsilon_high delta importance_sampling_level"
        ),
        "test_ppo_is_what_its_formulas_say": (
            "kl_coef cliprange vf_coef cliprange_value gamma lam whiten_rewards missing_eos_penalty"
        ),
        "test_a_stopped_run_ends_with_the_weights_that_it_would_have_had": "num_ppo_epochs",
        "test_the_tokens_that_are_learned_are_those_that_were_generated": "overlong_filter num_generations",
        "test_prompts_without_a_gradient_give_way_to_others": "dynamic_sample max_resample_times",
        "test_rewards_are_scaled_as_the_flag_says": "scale_rewards",
        "test_answers_are_sampled_as_the_flags_say": (
            "temperature top_k top_p repetition_penalty stop_words max_completion_length"
        ),
    },
    "tasks/test_deploy.py": {
        "test_several_adapters_their_base_and_changes_while_it_runs": (
            "deploy: served_model_name allow_runtime_lora_updating verbose"
        ),
        "test_too_many_requests_are_told_to_come_again": "deploy: max_waiting_requests request_timeout",
        "test_a_termination_lets_an_open_answer_finish": "deploy: drain_timeout",
    },
    "tasks/test_following.py": {
        "test_the_flags_of_the_probe": "deploy: probe_questions probe_max_lost probe_timeout",
    },
    "tasks/test_workspace.py": {
        "test_gc_shows_then_removes_what_nothing_needs": "gc: output_dir yes",
        "test_runs_are_listed_with_what_came_of_them": "runs: output_dir",
    },
    "tasks/stages/test_quantize.py": {
        "test_a_model_that_garbles_is_kept_where_min_agreement_allows_that": "min_agreement",
        "test_a_set_that_is_too_small_to_calibrate_on": "group_size quant_n_samples quant_batch_size",
    },
    "components/data/test_checks.py": {
        "test_drop_leaves_the_row_out_and_names_it": "on_*",
        "test_near_duplicates_are_found_from_the_threshold_on": "near_threshold max_chars",
        "test_pairs_of_very_different_length": "max_pair_ratio",
        "test_languages": "languages",
        "test_labels_close_the_gate_without_dropping_a_row": "min_label_share",
    },
    "components/data/test_data_gate.py": {
        "test_limits": "min_rows max_dropped",
    },
    "components/data/test_media.py": {
        "test_root_image_dir_is_looked_up_first": "root_image_dir",
        "test_urls_are_downloaded_once_where_it_is_asked_for": "download_media",
    },
    "components/data/test_media_checks.py": {
        "test_what_is_malformed_is_named_in_one_sentence": "max_audio_seconds max_video_seconds",
    },
    "components/data/test_stream.py": {
        "test_a_block_is_shuffled_in_itself_and_otherwise_in_every_pass": "shuffle_buffer_size",
    },
    "components/evaluation/test_gate.py": {
        "test_decisions_on_one_set": "margin min_items",
        "test_a_first_champion_must_be_better_than_its_base_or_good_enough": "min_accuracy",
        "test_a_model_that_loses_the_margin_is_rarely_promoted": "confidence resamples",
    },
    "components/hub/test_hub_models.py": {
        "test_an_unknown_model_and_an_unknown_revision_are_configuration_errors": "model model_revision",
        "test_commands_take_a_model_from_the_hub_and_at_the_revision_that_they_name": (
            "infer: model use_hf model_revision export: use_hf model_revision deploy: use_hf model_revision"
        ),
    },
    "components/inference/test_chat.py": {
        "test_piped_lines_are_conversations_of_their_own": "infer: stream",
    },
    "components/inference/test_engine_arguments.py": {
        "test_a_flag_reaches_its_engine": (
            "vllm_* lmdeploy_* sglang_* deploy: vllm_* lmdeploy_* sglang_* infer: vllm_* lmdeploy_* sglang_*"
        ),
    },
    "components/environments/test_environments.py": {
        "test_the_command_lists_and_refuses": "env: action name",
    },
    "components/inference/test_engine.py": {
        "test_repetition_penalty_is_transformers_and_knows_no_padding": "infer: repetition_penalty max_batch_size",
        "test_draws_follow_the_distribution": "infer: top_k top_p",
        "test_a_stop_word_ends_the_answer_before_it": "infer: stop_words",
        "test_limits_and_reasons": "infer: max_model_len",
    },
    "components/models/test_code.py": {
        "test_a_model_of_its_own_code_is_trained_answers_and_is_merged": "trust_remote_code export: trust_remote_code",
        "test_a_command_on_a_model_allows_its_code": "infer: trust_remote_code deploy: trust_remote_code",
    },
    "components/training/test_vllm_rollouts.py": {
        "test_what_vllm_is_asked_and_how_its_log_probabilities_weigh": (
            "use_vllm vllm_mode vllm_server_base_url vllm_importance_sampling_cap"
        ),
    },
    "components/training/test_turns.py": {
        "test_the_ids_of_a_conversation_are_those_generated_and_those_rendered_between": (
            "multi_turn_scheduler max_turns"
        ),
    },
    "components/rewards/test_scores.py": {
        "test_weights_stand_in_the_order_of_the_names": "reward_funcs reward_weights",
        "test_a_reward_that_takes_too_long_is_named_and_left_behind": "reward_timeout",
    },
    "components/rewards/test_texts.py": {
        "test_repetition_goes_by_its_settings": "repetition_n_grams repetition_max_penalty",
        "test_soft_overlong": "soft_max_length soft_cache_length",
        "test_cosine_of_right_and_wrong_answers": "cosine_* max_completion_length",
    },
    "components/rewards/test_code.py": {
        "test_all_tests_of_an_answer_share_its_time": "code_timeout",
        "test_memory_is_that_of_all_processes_together": "code_memory_gb",
    },
    "components/rewards/test_judge.py": {
        "test_what_a_judge_is_asked": "judge_base_url judge_model judge_prompt",
    },
    "components/sampling/test_choose.py": {
        "test_the_best_answers_above_the_threshold": "sample: easy_query_threshold",
    },
    "components/templates/test_rows.py": {
        "test_a_template_without_an_end_tag_gets_one_on_request": "response_suffix",
    },
    "components/templates/test_shapes.py": {
        "test_a_prompt_asks_for_an_answer_as_a_server_does": "enable_thinking",
    },
    "components/templates/test_tokens.py": {
        "test_several_processes_write_the_same_bytes": "dataset_num_proc",
    },
    "components/tracking/test_sync.py": {
        "test_a_run_as_it_goes_on_and_ends": "experiment_name",
    },
    "components/training/test_checkpoints.py": {
        "test_a_limit_keeps_the_newest_and_the_best": "save_total_limit",
    },
    "components/training/test_packing.py": {
        "test_rows_are_joined_where_that_costs_less_than_padding": "padding_free",
    },
    "components/tuners/test_lora.py": {
        "test_scaling_and_layers_saved_in_full": "modules_to_save",
    },
    "flows/test_finetune.py": {
        "test_the_gate_judges_a_candidate_once_and_believes_the_registry_alone": "auto_promote",
    },
    "flows/test_approval.py": {
        "test_a_person_refuses_a_candidate_and_is_not_asked_again": "needs_approval",
        "test_without_an_answer_in_time_nothing_is_promoted": "approval_timeout",
    },
    "flows/test_prefect_server.py": {
        "test_serve_flows_hands_its_limit_to_prefect": "serve-flows: limit",
    },
    "flows/test_run_command.py": {
        "test_explain_says_why": "explain: stage",
        "test_a_wrong_word_is_one_message": "run: recipe",
        "test_a_dry_run_names_parameters_stages_and_reasons_and_touches_nothing": "run: dry_run",
    },
    "pipeline/test_bad_input.py": {
        "test_a_port_in_use_is_told_before_the_model_is_loaded": "deploy: port",
        "test_a_run_with_wrong_parameters_starts_nothing": "demo: model vision",
    },
    "pipeline/test_demo.py": {
        "test_the_base_alone_is_built_once": "demo: base_only",
        "test_mlflow_remembers_the_run_and_its_stages": "report_to",
    },
    "tasks/stages/test_evaluate.py": {
        "test_every_candidate_is_asked_and_reported": "eval_limit eval_generation_config variants",
        "test_the_pipeline_asks_a_benchmark_and_own_questions_by_their_scorers": "eval_scorer eval_dataset_args",
    },
    "tasks/stages/test_fetch.py": {
        "test_a_hub_dataset_is_pinned_and_then_needs_no_hub": "use_hf",
    },
    "tasks/stages/test_merge.py": {
        "test_a_difference_above_the_tolerance_is_an_error_with_its_figures": "merge_tolerance",
        "test_weights_are_split_and_stored_as_the_base_is": "max_shard_size",
    },
    "tasks/stages/test_register.py": {
        "test_every_evaluated_candidate_gets_a_version_with_its_lineage": "registered_model_name",
    },
    "tasks/stages/test_template.py": {
        "test_the_model_decides_how_boxes_are_written_unless_a_flag_does": "norm_bbox qwenvl_bbox_format",
    },
    "tasks/stages/test_validate.py": {
        "test_expectations_hold_on_clean_rows_and_name_each_check": "data_docs",
    },
    "tasks/stages/test_workers.py": {
        "test_two_processes_have_the_losses_of_one": "nproc_per_node",
    },
    "tasks/stages/test_sequence_parallel.py": {
        "test_processes_that_divide_rows_learn_as_one_and_go_on_to_the_same_weights": "sequence_parallel_size",
    },
    "tasks/stages/test_launch.py": {
        "test_two_machines_have_the_losses_of_one_process_and_go_on": "nnodes node_rank master_addr master_port",
        "test_all_processes_start_again_from_the_newest_checkpoint": "max_restarts",
        "test_a_machine_that_does_not_come_is_named": "ddp_timeout",
        "test_processes_that_cannot_meet": "ddp_backend",
    },
    "tasks/stages/test_engines.py": {
        "test_two_processes_that_divide_a_model_learn_as_one_and_go_on_to_the_same_weights": "deepspeed fsdp",
        "test_a_device_map_lays_the_model_where_it_says": "device_map max_memory",
        "test_unused_weights_are_looked_for_where_layers_freeze_or_a_flag_says": "ddp_find_unused_parameters",
    },
    "tasks/test_loading.py": {
        "test_the_stored_precision_is_kept_unless_another_is_named": "*: torch_dtype",
    },
    "tasks/test_operating.py": {
        "test_logs_show_progress_output_and_end_of_a_stage": "logs: stage run",
        "test_logs_follow_a_stage_to_its_end": "logs: follow",
        "test_gc_keeps_the_newest_runs_and_what_is_younger": "gc: keep_runs older_than",
        "test_gc_takes_from_dvcs_cache_what_nothing_names": "gc: dvc_cache",
        "test_a_backup_brings_back_runs_registry_and_journal": "backup: file models restore: file overwrite",
        "test_init_makes_a_workspace_in_which_every_stage_is_known": "init: folder upgrade",
        "test_ui_starts_the_pages_of_mlflow_and_ends_them": "ui: port open",
    },
    "tasks/test_preflight.py": {
        "test_what_a_cpu_does_not_do_is_told": "use_liger_kernel",
    },
    "tasks/test_prompts.py": {
        "test_a_checkpoint_is_asked_as_it_was_trained": (
            "infer: system enable_thinking use_chat_template deploy: system enable_thinking use_chat_template"
        ),
    },
    "tasks/test_serving.py": {
        "test_a_users_engine_is_evaluated": "infer_backend",
        "test_as_many_questions_are_asked_at_a_time_as_eval_num_proc_says": "eval_num_proc",
        "test_a_deployed_model_answers_under_its_name": "deploy: served_model_name model",
        "test_a_users_engine_is_deployed": "deploy: infer_backend external_plugins",
        "test_a_request_that_names_no_settings_gets_those_of_the_command": (
            "deploy: temperature max_new_tokens stop_words"
        ),
        "test_an_address_is_checked_before_anything_is_loaded": "deploy: host",
    },
}
"""Flags by the test that sees their effect, by file."""
POSITIONAL = ("data:action", "data:versions", "env:action", "env:name", "cache:action", "datasets:words",
              "explain:stage", "models:words", "registry:action", "registry:versions", "run:recipe", "validate:recipe",
              "logs:stage", "backup:file", "restore:file", "init:folder", "compare:models",
              "promote:versions", "rollback:versions")  # fmt: skip
"""Words that a command line does not name."""


def flags_of(command: str) -> set[str]:
    """The command's flags as this file names them; `app` is `deploy` with a page, `sample`, `eval` and `compare` ask a
    model as `infer` does, and `compare` asks what `eval` does."""
    own = dests(command)
    shared = LEAVES.keys() if command in STAGES else {n for n in LEAVES if LEAVES[n].group in ("gate", "reward")}
    asked = dests("infer") if command in ("sample", "eval", "compare") else set()
    of_eval = dests("eval") if command == "compare" else set()
    prefixes = {
        name: "infer" if name in asked else "eval" if name in of_eval else command.replace("app", "deploy")
        for name in own
    }
    return {name if name in shared else f"{prefixes[name]}:{name}" for name in own}


def dests(command: str) -> set[str]:
    parser = parser_of(command, import_module(f"apps.cli.{command.replace('-', '_')}"))
    return {action.dest for action in parser._actions} - {"help"}


def names(text: str) -> list[str]:
    """The flags in a text such as `seed deploy: port host`: seed, deploy:port, deploy:host."""
    flags, command = [], ""
    for word in text.split():
        if word.endswith(":"):
            command = word
        else:
            flags.append(command + word)
    return flags


TESTS = {(file, test): names(flags) for file, tests in SEEN.items() for test, flags in tests.items()}


def test_every_flag_is_seen_by_a_test() -> None:
    named = [*TRAIN, *DATA, *(flag for flags in TESTS.values() for flag in flags)]
    flags = {flag for command in NAMES for flag in flags_of(command)}
    assert [flag for flag in sorted(flags) if not any(fnmatch(flag, name) for name in named)] == []
    assert [name for name in sorted(named) if not any(fnmatch(flag, name) for flag in flags)] == []


@cache
def source(file: str) -> str:
    return (ROOT / "tests" / file).read_text()


@pytest.mark.parametrize(("file", "test"), TESTS, ids=[test for _, test in TESTS])
def test_the_tests_are_there_and_name_the_flags(file: str, test: str) -> None:
    assert re.search(rf"^def {test}\(", source(file), re.MULTILINE)
    for flag in {*TESTS[file, test]} - {*POSITIONAL}:
        assert flag.rpartition(":")[2].strip("*") in source(file), flag


def test_the_limits_of_the_gate() -> None:
    baseline, longer = records([1.0] * 80, tokens=5), records([1.0] * 80, tokens=11)
    assert [decide(longer, baseline, Gate(max_length_ratio=ratio)).promote for ratio in (2.0, 3.0)] == [False, True]
    silent = [{**record, "answer": " " if record["item"] < 3 else "yes"} for record in baseline]
    assert [decide(silent, baseline, Gate(max_empty=share)).promote for share in (0.02, 0.1)] == [False, True]
    changes: list[tuple[str, Any, Any, dict[str, Any]]] = [
        ("max_refusals", 0.02, 0.1, {"answer": "I cannot."}),
        ("max_malformed", 0.02, 0.1, {"answer": "{"}),
        ("max_latency_ratio", 1.01, 1.2, {"latency_s": 4.0}),
        ("forbidden_words", ["yes"], ["no"], {}),
        ("margins", {"skills": 0.01}, {"skills": 0.2}, {}),
        ("cluster_by", "source", None, {}),
    ]
    theirs = [{**r, "reference": "[]", "answer": "[1]", "latency_s": 1.0, "source": "one page"} for r in baseline]
    for name, strict, loose, change in changes:
        answered = {"answer": "yes"} if name == "forbidden_words" else {}
        ours = [{**r, **answered, **(change if r["item"] < 3 or name == "max_latency_ratio" else {})} for r in theirs]
        limits = {"max_malformed": 1.0} if name not in ("max_malformed",) else {}
        if name == "max_latency_ratio":
            ours = [{**r, "latency_s": 1.1} for r in theirs]
        gates = [Gate(resamples=5_000, **{**limits, name: limit}) for limit in (strict, loose)]
        assert [decide(ours, theirs, gate).promote for gate in gates] == [False, True], name


def test_a_recipe_lies_below_the_flags(tiny_model: Path, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text('{"query": "Who?", "response": "Me."}\n')
    (tmp_path / "recipe.yaml").write_text(f"model: {tiny_model}\ndataset: [rows.jsonl]\nlora_rank: 4\nmax_steps: 9\n")
    told = martlet(tmp_path, "sft", "--config", "recipe.yaml", "--max_steps", 1, "report_to=none", "save_steps=1")
    assert "lora.lora_rank = 4" in told
    assert "step 1/1 " in told


def test_doctor_in_short(tmp_path: Path) -> None:
    whole, short = martlet(tmp_path, "doctor"), martlet(tmp_path, "doctor", "--short")
    assert set(short.splitlines()) < set(whole.splitlines())
    assert " ok " not in short
