"""Utility for a language model, corrected: what it learns from synthetic rows, asked about real rows it never saw."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import pandas as pd
import torch
from transformers import GenerationConfig

from harmonic.codec import (
    ANSWER,
    ASSISTANT,
    HUMAN,
    Instruction,
    RowCodec,
    Segments,
    on_one_line,
    question,
    question_key,
    wrap,
)
from harmonic.errors import BadInput, check_count
from harmonic.lm.batches import Training, plan_batches
from harmonic.lm.grammar import DONE
from harmonic.lm.likelihood import BATCH_TOKENS, Tokens, token_log_likelihoods
from harmonic.lm.load import Backbone, Pretrained, backbone
from harmonic.lm.module import VERSION, fine_tune
from harmonic.lm.segments import SegmentEncoder, pad_left
from harmonic.metrics.rows import check_rows, draw_rows
from harmonic.metrics.utility import class_scores, number_scores, trivial_score, usable_rows
from harmonic.seed import derive_seed, global_seed
from harmonic.table import Split, coerce
from harmonic.table.schema import Column, Schema, discrete_texts
from harmonic.training import Compute, progress_bar

log = logging.getLogger(__name__)

RECIPE = Training(
    loss_on="answer",
    epochs=4,
    min_steps=150,
    max_steps=300,
    batch_size=32,
    learning_rate=5e-4,
    warmup=0.1,
    weight_decay=0.01,
    max_length=4096,
)
"""The recipe of model=base, chosen on validation rows of german, diabetes and adult: rates from 5e-4 to 4e-3, the loss on
the answer or on all of the text, features in order or shuffled."""


@dataclass(frozen=True)
class Questions:
    """The rows of one schema as questions, and their targets as answers."""

    codec: RowCodec
    sentence: str
    """The task, up to the first feature."""
    choices: tuple[str, ...]
    """The answer of each class, in the order of the schema's categories; empty for a regression."""

    @property
    def schema(self) -> Schema:
        """Of the rows."""
        return self.codec.schema

    def prompt(self, cells: Sequence[str]) -> Segments:
        """The question about one row, without the dialogue form."""
        return question(self.sentence, self.schema, cells)

    def answers(self, rows: pd.DataFrame) -> list[str]:
        """The text of each row's target, length n."""
        column = self.schema[self.schema.target]
        texts = self.codec.texts(column, rows[column.name])
        if not self.choices:
            return texts
        said = dict(zip(column.categories, self.choices, strict=True))
        return [said[text] for text in discrete_texts(rows[column.name], column)]

    def segments(self) -> Segments:
        """What deserves a token of its own: the words around the cells, and named categories."""
        columns = self.schema.features
        keys = [question_key(column, first=first) for column in columns for first in (True, False)]
        categories = [self.codec.escape(text) for column in columns for text in column.categories]
        named = [text for text in (*self.choices, *categories) if text.isascii() and any(map(str.isalpha, text))]
        return [HUMAN, ASSISTANT, ANSWER, self.sentence, *keys, *named]


def plain_questions(schema: Schema) -> Questions:
    """Questions in words made from the schema, those that the shipped base model was pre-trained on."""
    words = schema[schema.target].categories if schema.task != "regression" else ()
    task = "Respond with only a number."
    if words:
        *others, last = (f"'{word}'" for word in words)
        task = f"Respond with only either {', '.join(others)} or {last}." if others else f"Respond with only {last}."
    target, about = on_one_line(schema.target), on_one_line(schema.description or "rows")
    sentence = f"Predict the {target} of one of the {about}. {task} \nText: "
    codec = RowCodec(schema)
    return Questions(codec, sentence, tuple(map(codec.escape, words)))


@dataclass(frozen=True)
class LanguageModelEfficacy:
    """LLM efficacy (LLE), corrected: fine-tune a language model on the synthetic rows, ask it about real test rows.

    Definition. Every synthetic row is a question in the dialogue form of the method ("Human: … Assistant: …"): a task
    sentence made from the schema, then "The state of {column} is {value}" for each feature; the answer is the target's
    text. The loss is on the answer. Test rows are asked about in the same words, the same dialogue form and the same order
    of features, the schema's: shuffled anew for each row they are learnt in more steps than there is time for (AUC on
    validation rows of adult after 200 steps: .84 shuffled, .87 in order).

    Classes are scored by likelihood: the probability that the model gives each class's text and the end behind it,
    normalised over the schema's classes. The prediction is the likeliest class, and the probabilities make the AUC; an
    answer can thus not be misread. Numbers are written greedily and read; an answer that is no value of the column counts
    as the mean of synthetic, one outside the range of synthetic as its nearer end.

    At most `max_test_rows` test rows are drawn with the seed. Scores, greater is better except for `lle_rmse`:

    * `lle_f1_weighted`, `lle_f1_macro` (over the classes of test), `lle_auc` (ROC; for several classes one against the
      rest, weighted by class frequency; NaN where test holds one class), 0 to 1; `lle_mcc`, -1 to 1.
    * regression: `lle_r2`, at most 1; `lle_rmse`, in units of the target; `lle_unreadable`, the share of answers that
      were no value of the column, ideal 0.
    * `lle_majority_f1_weighted` (`lle_mean_r2`): what predicting the most frequent class (the mean) of real train scores.

    Floor and ceiling. A generator without any relation between columns scores about the majority's F1, an MCC of 0 and an
    AUC around .5, on either side of it: a model that has learnt nothing still leans on some feature (.58 was seen on adult).
    The ceiling is what this model learns from as many real rows: the scores of the methods `copy` and, for real rows that
    train does not hold, `holdout`. It is not 1, and for a small model it lies below MLE's.

    Edges. Rows whose target is empty or no class of the schema are left out. A category that train does not hold and a
    number that is none are empty cells. A table of one class teaches that class; text columns are part of the question.

    What it cannot see: privacy (a copy of train scores like train), columns that do not help to predict the target, and
    differences smaller than the test rows can resolve (±.03 on 150 rows, ±.01 on 2 000) or than another seed of the
    fine-tuning makes. It says what *this* model learns in *this* many steps: scores compare under one model alone.
    A number is the likeliest text, not a mean: the shipped model's R² is low on real rows too (.09 on progression).

    Source: Wang et al. 2024 (HARMONIC), LLE. What is corrected: one template in training and test, answers scored by
    likelihood in place of a search in the text, several scores, a reference, and a model that runs anywhere.
    """

    model: Backbone | str = "base"
    """The language model, or "base" (the shipped one), "scratch", a hub id or a folder."""
    version: ClassVar[int] = VERSION
    compute: Compute | None = None
    """Device and precision."""
    training: Training | None = None
    """The recipe; None for the one above for model=base, and for any other model its own."""
    max_test_rows: int = 2000
    """Test rows that are asked about."""

    def __post_init__(self) -> None:
        check_count("metrics.lle.max_test_rows", self.max_test_rows, 1)

    def digest_inputs(self) -> dict[str, str]:
        """SHA-256 of the files of a model that is a local folder."""
        return backbone(self.model).digest_inputs()

    def __call__(
        self, split: Split, synthetic: pd.DataFrame, *, seed: int, synthesizer: object | None = None
    ) -> dict[str, float]:
        """Scores by key; see the class.

        Raises:
            BadInput: a column is missing, a cell is not of its column's kind, no synthetic row has a usable target, a row is
                too long for the model, or the model cannot be loaded.
        """
        rows = readable_rows(split, synthetic, "lle")
        rows = rows.iloc[usable_rows(split, rows, np.arange(len(rows)), "synthetic")[0]]
        seed = derive_seed(seed, "lle")
        usable = usable_rows(split, split.test, np.arange(len(split.test)), "test")[0]
        test = draw_rows(split.test.iloc[usable], self.max_test_rows, derive_seed(seed, "test rows"))
        target = split.encoder.target(test)
        compute, source = self.compute or Compute(), backbone(self.model)
        shipped = isinstance(source, Pretrained) and source.path == "base"
        training = self.training or (RECIPE if shipped else source.training)
        questions = plain_questions(split.schema)
        with global_seed(seed):
            model, encoder = learn_answers(source, training, questions, rows, compute, seed=seed)
            prompts = [wrap(questions.prompt(cells)) for cells in questions.codec.cells(test)]
            if questions.choices:
                chances = answer_probabilities(model, encoder, prompts, questions.choices, compute)
                scores = class_scores(target, chances.argmax(axis=1), chances)
            else:
                longest = max(len(encoder.encode([text])) for text in questions.answers(rows)) + 1
                texts = greedy_answers(model, encoder, prompts, longest, compute)
                scores = _judge_numbers(texts, target, split.encoder.target(rows), split.schema[split.schema.target])
        return {f"lle_{name}": value for name, value in (scores | trivial_score(split, target)).items()}


def readable_rows(split: Split, synthetic: pd.DataFrame, metric: str) -> pd.DataFrame:
    """The synthetic rows as a table whose every cell has a text; what `check_rows` notes as odd is an empty cell.

    Raises:
        BadInput: see `check_rows`; or a cell is not of its column's kind.
    """
    rows = check_rows(split, synthetic, metric)
    lenient = tuple(replace(column, nullable=True) for column in split.schema.columns)
    table = coerce(rows, replace(split.schema, columns=lenient), "the synthetic table")
    if split.schema.task != "regression" and table[split.schema.target].nunique() == 1:
        log.warning("%s: the synthetic rows hold one class alone.", metric)
    return table


def learn_answers(
    source: Backbone,
    training: Training,
    questions: Questions,
    rows: pd.DataFrame,
    compute: Compute,
    *,
    seed: int,
) -> tuple[Any, SegmentEncoder]:
    """A model fine-tuned on rows as questions in the dialogue form, and its tokenizer; draws from torch's global stream.

    Args:
        source: the language model.
        training: the recipe.
        questions: how a row is asked about.
        rows: n rows, each with a target.
        compute: device and precision.
        seed: of weights, batches and dropout.

    Raises:
        BadInput: a row is too long for the model or the recipe.
    """
    cells, answers = questions.codec.cells(rows), questions.answers(rows)
    values = (text for row in cells for text in row)
    model, tokenizer = source.create(values, questions.segments(), derive_seed(seed, "weights"))
    encoder = SegmentEncoder(tokenizer)
    training = training.for_context(model)

    def instruct(epoch: int, number: int) -> Instruction:
        return Instruction(wrap(questions.prompt(cells[number])), [answers[number]])

    lengths = np.array([sum(map(len, row)) for row in cells])
    batches = plan_batches(lengths, training, derive_seed(seed, "batches"))
    fine_tune(model, encoder, batches, instruct, training, compute, seed=derive_seed(seed, "dropout"))
    return model, encoder


def answer_probabilities(
    model: Any, encoder: SegmentEncoder, prompts: Sequence[Segments], answers: Sequence[str], compute: Compute
) -> np.ndarray:
    """The probability of each answer behind each prompt, given that it is one of them; float64, shape (n, c).

    An answer is its text and the end of the sequence, so that one that begins another is no likelier for it.
    """
    ends = [[*encoder.encode([answer]), encoder.tokenizer.eos_token_id] for answer in answers]
    rows = [
        Tokens([*asked, *end], np.zeros(len(end), dtype=np.int64), np.full(len(end), DONE))
        for asked in _encoded(model, encoder, prompts, max(map(len, ends)))
        for end in ends
    ]
    found = token_log_likelihoods(model, rows, encoder.tokenizer.pad_token_id, compute).reshape(len(prompts), len(answers))
    likelihoods = np.exp(found - found.max(axis=1, keepdims=True))
    return likelihoods / likelihoods.sum(axis=1, keepdims=True)


def greedy_answers(
    model: Any, encoder: SegmentEncoder, prompts: Sequence[Segments], longest: int, compute: Compute
) -> list[str]:
    """What the model writes behind each prompt when it always takes the likeliest token, up to `longest` of them."""
    model.eval().to(compute.device)
    tokenizer = encoder.tokenizer
    settings = GenerationConfig(
        do_sample=False,
        max_new_tokens=longest,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    asked = _encoded(model, encoder, prompts, longest)
    by_length = sorted(range(len(asked)), key=lambda number: -len(asked[number]))
    answers = [""] * len(asked)
    done = 0
    with progress_bar("answering", len(asked)) as bar, torch.inference_mode(), compute.autocast():
        while done < len(asked):
            width = len(asked[by_length[done]]) + longest
            numbers = by_length[done : done + max(1, BATCH_TOKENS // width)]
            ids, mask = (
                tensor.to(compute.device) for tensor in pad_left([asked[n] for n in numbers], tokenizer.pad_token_id)
            )
            output = model.generate(input_ids=ids, attention_mask=mask, generation_config=settings)
            for number, written in zip(numbers, output[:, ids.shape[1] :].tolist(), strict=True):
                answers[number] = encoder.decode_value(written)
            done += len(numbers)
            bar.update(len(numbers))
    return answers


def _encoded(model: Any, encoder: SegmentEncoder, prompts: Sequence[Segments], answer: int) -> list[list[int]]:
    """Token ids of the prompts, each of which leaves room for an answer of so many tokens."""
    asked = [encoder.encode(prompt) for prompt in prompts]
    context, longest = getattr(model.config, "max_position_embeddings", None), max(map(len, asked)) + answer
    if context is not None and longest > context:
        raise BadInput(
            f"a question about a test row and its answer must fit the model's context of {context} tokens, but take "
            f"{longest}: take another model for this metric, or drop columns with dataset.drop."
        )
    return asked


def _judge_numbers(texts: Sequence[str], target: np.ndarray, known: np.ndarray, column: Column) -> dict[str, float]:
    """Scores of answers, `known` being the target of the synthetic rows."""
    wide = replace(column, low=None, high=None, nullable=False)
    read = wide.numbers(pd.Series([_read(text.strip(), wide) for text in texts]))
    unreadable = np.isnan(read)
    predicted = np.where(unreadable, known.mean(), read.clip(known.min(), known.max()))
    return number_scores(target, predicted) | {"unreadable": float(unreadable.mean())}


def _read(text: str, column: Column) -> Any:
    try:
        return column.read(text)
    except ValueError:
        return None
