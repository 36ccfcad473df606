"""Training: transformers' and TRL's trainers over tokens that are ready, with exact resume and honest numbers.

    with held(job.checkpoints):
        job.start = choose_start(job.checkpoints, job.made_of, job.arguments, None, print)
        outcome = train(job)
    write_reports(outcome, reports)

The loss is normalised by learnable tokens over the whole optimizer step, so batch size times accumulation is all that
counts, whether rows are padded, packed, joined or grouped by length, in one process or in several. A checkpoint is
complete or absent, and a run that was killed ends with the weights it would have had.
"""

from components.training.callbacks import CALLBACKS
from components.training.checkpoints import check_start, choose_start, held, newest_intact, tidy
from components.training.datasets import Packs, sample_rows, tokens_hash
from components.training.engines import engine_of
from components.training.estimate import MAX_CHECKED_PARAMETERS, steps
from components.training.intact import is_checkpoint
from components.training.job import Job, generations, group_problem, settled, temperature
from components.training.media import media_probe
from components.training.methods import METHODS
from components.training.metrics import METRICS
from components.training.mixture import mixture_of, mixture_problems
from components.training.optimizers import OPTIMIZERS
from components.training.packing import pack
from components.training.page import live_page
from components.training.preload import preload
from components.training.proofs import answers, check_saved
from components.training.report import write_reports
from components.training.resuming import changes, check_weights, fingerprint, listed
from components.training.run import Outcome, seconds_of, train
from components.training.saving import write_model
from components.training.stream import Chunk, State, Stream
from components.training.trackers import missing_packages
from components.training.world import MEETING, is_launched, settled_world, world_size
from components.training.world import problems as world_problems

__all__ = [
    "CALLBACKS",
    "MAX_CHECKED_PARAMETERS",
    "MEETING",
    "METHODS",
    "METRICS",
    "OPTIMIZERS",
    "Chunk",
    "Job",
    "Outcome",
    "Packs",
    "State",
    "Stream",
    "answers",
    "changes",
    "check_saved",
    "check_start",
    "check_weights",
    "choose_start",
    "engine_of",
    "fingerprint",
    "generations",
    "group_problem",
    "held",
    "is_checkpoint",
    "is_launched",
    "listed",
    "live_page",
    "media_probe",
    "missing_packages",
    "mixture_of",
    "mixture_problems",
    "newest_intact",
    "pack",
    "preload",
    "sample_rows",
    "seconds_of",
    "settled",
    "settled_world",
    "steps",
    "temperature",
    "tidy",
    "tokens_hash",
    "train",
    "world_problems",
    "world_size",
    "write_model",
    "write_reports",
]
