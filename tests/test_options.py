"""Every option refuses what it cannot mean: an unknown word is never taken for a known one."""

import numpy as np
import pytest

from baselines.file import File
from harmonic.errors import BadInput, check_count
from harmonic.lm.batches import Training
from harmonic.lm.decoding import Decoding
from harmonic.method import Harmonic
from harmonic.method.sampling import Sampling
from harmonic.metrics.attacks.prompt_copy import PromptCopy
from harmonic.metrics.utility import MachineLearningEfficacy
from harmonic.training import Compute


@pytest.mark.parametrize(
    ("make", "option", "value"),
    [
        (Harmonic, "distance", "euclid"),
        (Harmonic, "label_rule", "majority"),
        (Harmonic, "order", "sorted"),
        (Harmonic, "row_style", "csv"),
        (Harmonic, "max_instructions", 0),
        (Harmonic, "k", 0),
        (Harmonic, "k", 10),
        (Harmonic, "k", 2.5),
        (Harmonic, "k", "5"),
        (Harmonic, "max_instructions", 2.5),
        (Sampling, "prompts", "none"),
        (Sampling, "wrapped", "no"),
        (Decoding, "exact", "off"),
        (Training, "gradient_checkpointing", "no"),
        (Decoding, "form", "json"),
        (Decoding, "temperature", 0.0),
        (Decoding, "batch_size", 0),
        (Decoding, "max_tries", "many"),
        (Training, "loss_on", "rows"),
        (Training, "epochs", 0),
        (Training, "batch_size", 0),
        (Training, "batch_size", 2.5),
        (Training, "epochs", 1.5),
        (Training, "max_steps", 0),
        (lambda max_steps: Training(min_steps=9, max_steps=max_steps), "max_steps", 8),
        (Training, "learning_rate", -1e-3),
        (Training, "warmup", float("nan")),
        (Compute, "accelerator", "tpu"),
        (Compute, "precision", "64-true"),
        (MachineLearningEfficacy, "folds", 1),
        (PromptCopy, "tail", 2),
        (Compute, "checkpoint_minutes", -1),
        (lambda invalid: File("rows.csv", invalid), "invalid", "repair"),
    ],
)
def test_a_value_it_cannot_mean_is_refused_by_name(make, option, value):
    """Oracle: the rule for errors a user can cause: one line that names the option and what was found."""
    with pytest.raises(BadInput) as error:
        make(**{option: value})
    assert option in str(error.value)
    assert str(value) in str(error.value)
    assert "\n" not in str(error.value)


def test_a_gpu_that_is_not_there(monkeypatch):
    """Oracle: the cure in the message."""
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    with pytest.raises(BadInput, match="trainer=auto"):
        _ = Compute(accelerator="gpu").device


def test_rows_of_a_method_that_has_learnt_nothing():
    """Oracle: the cure in the message."""
    with pytest.raises(BadInput, match="call fit or load first"):
        Harmonic().sample(2, seed=0)


def test_a_place_that_cannot_be_written_is_one_line():
    """Oracle: the system's own words and the place; an error without one is a defect of ours."""
    import run

    assert run._reason(OSError(28, "No space left", "/x/y")).startswith("/x/y must be a place that can be read and written")
    assert run._reason(OSError("odd")) is None


@pytest.mark.parametrize("value", [3, np.int64(3), np.uint8(3)])
def test_whole_numbers_of_any_library(value):
    """Oracle: the number."""
    check_count("n", value, 1)


@pytest.mark.parametrize("value", [True, np.bool_(True), 3.0, np.float64(3), "3", None, 0, np.int64(-1)])
def test_what_is_no_count(value, one_sentence):
    """Oracle: the rule for what a user can cause."""
    with pytest.raises(BadInput) as error:
        check_count("n", value, 1)
    one_sentence(error.value, "n must be a whole number of at least 1")
