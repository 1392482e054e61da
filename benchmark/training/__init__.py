"""Training: one loop, into which tasks plug."""

from benchmark.training.estimate import Cost, TrainingCost, forward_cost, training_cost, training_size
from benchmark.training.fitdata import FitData
from benchmark.training.loader import cached, fits_in_memory, native_batches
from benchmark.training.loop import Report, train
from benchmark.training.pasting import Cutouts, Pasting
from benchmark.training.schedule import learning_rate_factor, run_seed, seeded, steps_per_epoch
from benchmark.training.segmentation import Segmentation
from benchmark.training.state import clear_states
from benchmark.training.task import Task

__all__ = [
    "Cost",
    "Cutouts",
    "FitData",
    "Pasting",
    "Report",
    "Segmentation",
    "Task",
    "TrainingCost",
    "cached",
    "clear_states",
    "fits_in_memory",
    "forward_cost",
    "learning_rate_factor",
    "native_batches",
    "run_seed",
    "seeded",
    "steps_per_epoch",
    "train",
    "training_cost",
    "training_size",
]
