"""Rows written by vLLM (an extra): the same prompts and patterns, one request a row, for models whose speed it is worth.

Each row is held to one expression: its keys as they are, between them what the columns may hold (vLLM 0.12's structured
outputs). Keys are drawn like the rest, under masks that leave no choice; the record has no figures of the masks.
"""

import copy
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from harmonic.codec import CLOSE, QUOTE, RowCodec
from harmonic.errors import BadInput
from harmonic.lm.decoding import Decoding, Limits, Prompt, Written
from harmonic.lm.load import save
from harmonic.lm.patterns import literal, value_pattern
from harmonic.lm.segments import SegmentEncoder
from harmonic.seed import derive_seed


@dataclass
class VllmWriter:
    """What `Writer` is to torch."""

    model: Any
    encoder: SegmentEncoder
    codec: RowCodec
    limits: Limits
    decoding: Decoding
    seed: int
    empty: bool = True
    """Whether cells may be empty."""
    engine: Any = None
    """vLLM's; made by `prepare`, and shared with copies made after it, since a GPU holds one."""

    def __post_init__(self) -> None:
        if self.decoding.form != "valid" or self.decoding.exact:
            raise BadInput("method.sampling.engine=vllm needs decoding.form=valid and exact=false: correct decoding.")
        columns = self.codec.schema.columns
        self.patterns = [value_pattern(self.codec, column, empty=self.empty) for column in columns]

    def prepare(self) -> None:
        """Hand the model over to an engine of vLLM's own.

        Raises:
            BadInput: vLLM is not installed.
        """
        if self.engine is not None:
            return
        try:
            import vllm
        except ImportError:
            cure = "pip install -e '.[vllm]'"
            raise BadInput(f"method.sampling.engine=vllm needs the package vllm: {cure}.") from None
        model = self.model.eval().cpu()
        if hasattr(model, "merge_and_unload"):
            model = copy.deepcopy(model).merge_and_unload()
        with tempfile.TemporaryDirectory() as folder:
            save(model, self.encoder.tokenizer, Path(folder))
            self.engine = vllm.LLM(model=folder, seed=0)

    def write(self, prompts: Sequence[Prompt], numbers: Sequence[int]) -> list[Written]:
        """The rows of some tries, each with a seed of its own."""
        texts = [{"prompt_token_ids": self.encoder.encode(prompt.text)} for prompt in prompts]
        settings = [self._settings(prompt, number) for prompt, number in zip(prompts, numbers, strict=True)]
        outputs = [request.outputs[0] for request in self.engine.generate(texts, settings, use_tqdm=False)]
        return [Written(output.text, len(output.token_ids)) for output in outputs]

    def _settings(self, prompt: Prompt, number: int) -> Any:
        from vllm import SamplingParams
        from vllm.sampling_params import StructuredOutputsParams

        return SamplingParams(
            temperature=self.decoding.temperature,
            top_p=self.decoding.top_p,
            top_k=self.decoding.top_k or -1,
            max_tokens=self.limits.row,
            seed=derive_seed(self.seed, "row", number),
            structured_outputs=StructuredOutputsParams(regex=self.pattern(prompt)),
        )

    def pattern(self, prompt: Prompt) -> str:
        """Every row that may follow a prompt."""
        cells = [
            literal(key) + (literal(prompt.given[column]) if column in prompt.given else self.patterns[column]) + QUOTE
            for key, column in zip(prompt.keys, prompt.columns, strict=True)
        ]
        return "".join(cells) + literal(CLOSE)
