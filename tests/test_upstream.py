"""Defects of other packages that an adapter mends: a test that fails says that a mend is needed no longer."""

import inspect
import json

import pandas as pd
import pytest


def test_realtabformer_still_passes_an_argument_that_is_gone(tmp_path):
    """Oracle: the package and transformers: where this fails, `baselines.realtabformer.GONE` is needed no longer."""
    from realtabformer import REaLTabFormer
    from transformers import TrainingArguments

    from baselines.realtabformer import GONE

    package = REaLTabFormer(model_type="tabular", checkpoints_dir=str(tmp_path))
    assert GONE in package.training_args_kwargs
    assert GONE not in inspect.signature(TrainingArguments).parameters
    with pytest.raises(TypeError):
        json.dumps({"full_save_dir": package.full_save_dir})  # a path, which its `save` writes as JSON


def test_sdv_still_seeds_itself_with_a_constant(mixed_table):
    """Oracle: SDV: two objects under different seeds draw the same rows, so that the adapter's seed is needed."""
    from baselines.sdv import TABLE, GaussianCopula

    drawn = [GaussianCopula().fit(mixed_table, seed=seed).synthesizer.sample(20)[TABLE] for seed in (1, 2)]
    pd.testing.assert_frame_equal(*drawn)
