"""HARMONIC: a language model fine-tuned on nearest-neighbour instructions (Wang et al., NeurIPS 2024)."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Self

import numpy as np
import pandas as pd

from harmonic.budget import Budget, check_budget, check_minutes
from harmonic.codec import MAX_EXAMPLES, RowCodec, RowStyle, RowTexts, Segments, frequent_segments
from harmonic.dependencies import Links
from harmonic.distributed import place
from harmonic.errors import BadInput, check_at_least, check_choice, check_count
from harmonic.lm import load
from harmonic.lm.batches import Training
from harmonic.lm.decoding import Decoding, Limits, Prompt, Writer
from harmonic.lm.grammar import Grammar
from harmonic.lm.likelihood import cell_log_likelihoods, text_log_likelihoods
from harmonic.lm.module import VERSION, fine_tune
from harmonic.lm.planning import within_memory
from harmonic.lm.reader import check_reads
from harmonic.lm.sampler import complete_rows
from harmonic.lm.segments import SegmentEncoder
from harmonic.lm.vllm_writer import VllmWriter
from harmonic.method.answers import Answers
from harmonic.method.completion import Completion
from harmonic.method.conditions import check_rules
from harmonic.method.examples import Examples, Source
from harmonic.method.instructions import Composer, Instructions, Order
from harmonic.method.passes import Draft, Pass, Passes
from harmonic.method.prompts import Prompter
from harmonic.method.rejection import FOLDS
from harmonic.method.rewriting import Rewriting
from harmonic.method.sampling import Sampling
from harmonic.method.scale import Scale, drawn
from harmonic.neighbours import Distance, Groups, LabelRule, Search, make_groups
from harmonic.seed import derive_seed
from harmonic.table import coerce, load_table, save_table, schema_of
from harmonic.table.checks import check_frame
from harmonic.table.encoding import Encoder
from harmonic.training import Compute, loss_curve


class Harmonic:
    """HARMONIC as a `Synthesizer`.

    Args:
        model: the language model, or "base" (the shipped one), "scratch", a hub id or a folder.
        k: examples per instruction.
        examples: what they are, see `harmonic.method.examples.draw_parents`: real neighbours, or crossovers of them.
        pool: how many neighbours crossovers are made of; if not given, ten, but on tables of more than `LARGE` rows see
            `harmonic.method.examples.default_pool`, and ten of a draft. One less than there are rows at most.
        distance: where neighbours are looked for, see `harmonic.neighbours.make_groups`.
        neighbour_search: exact or approximate, see `harmonic.neighbours.mixed_neighbours`; if not given, exact on tables of
            140 000 rows or fewer, and on larger ones where the run's instructions are few.
        label_rule: which groups are kept, see `harmonic.neighbours.make_groups`.
        min_agreement: neighbours that must share the row's class under label_rule=agreement.
        order: shuffled draws a new order of the features for each instruction and epoch; fixed keeps the table's.
        row_style: how values are written, see `harmonic.codec.RowCodec`.
        max_instructions: fine-tune on this many groups drawn at random instead of all.
        least_read: share of train's rows that is read at least, past the limit of steps that the model's recipe sets, see
            `harmonic.lm.batches.Training.reading`; None for none.
        sampling: how the model is prompted and read.
        compute: device, precision, checkpoints.
        budget: smoke fine-tunes for ten steps, whatever the model's recipe; otherwise the recipe is the budget: that of
            model=base takes minutes, that of model=llama2_7b_chat is the authors'.
        max_minutes: end fine-tuning after this long.
    """

    version = (VERSION, 3)
    """Of fine-tuning, and of what instructions show."""
    shares = True

    @property
    def sampling_version(self) -> int | None:
        """Of how rows are written."""
        return self.sampling.decoding.version

    def __init__(
        self,
        model: load.Backbone | str = "base",
        *,
        k: int = 5,
        examples: Examples = "crossovers",
        pool: int | None = None,
        distance: Distance = "mixed",
        neighbour_search: Search | None = None,
        label_rule: LabelRule = "same_class",
        min_agreement: int = 3,
        order: Order = "shuffled",
        row_style: RowStyle = "canonical",
        max_instructions: int | None = None,
        least_read: float | None = 0.75,
        sampling: Sampling | None = None,
        compute: Compute | None = None,
        budget: Budget | None = None,
        max_minutes: float | None = None,
    ) -> None:
        if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or not 1 <= k <= MAX_EXAMPLES:
            raise BadInput(f"method.k must be a whole number between 1 and {MAX_EXAMPLES}, but is {k!r}: correct it.")
        check_choice("method.examples", examples, Examples)
        if pool is not None:
            check_count("method.pool", pool, 1)
        check_choice("method.distance", distance, Distance)
        if neighbour_search is not None:
            check_choice("method.neighbour_search", neighbour_search, Search)
        check_choice("method.label_rule", label_rule, LabelRule)
        check_count("method.min_agreement", min_agreement, 0)
        check_choice("method.order", order, Order)
        check_choice("method.row_style", row_style, RowStyle)
        if max_instructions is not None:
            check_count("method.max_instructions", max_instructions, 1)
        if least_read is not None:
            check_at_least("method.least_read", least_read, 0)
        self.backbone = load.backbone(model)
        self.budget, self.max_minutes = check_budget(budget), check_minutes(max_minutes)
        self.k = int(k)
        self.examples: Examples = examples
        self.pool = pool
        self.distance: Distance = distance
        self.neighbour_search: Search | None = neighbour_search
        self.label_rule: LabelRule = label_rule
        self.min_agreement = min_agreement
        self.order: Order = order
        self.row_style: RowStyle = row_style
        self.max_instructions = max_instructions
        self.least_read = least_read
        self.sampling = sampling or Sampling()
        self.compute = compute or Compute()
        self.report: dict[str, Any] = {}
        self.prompt_rows: np.ndarray | None = None
        self.prompt_drawn: np.ndarray | None = None
        self._draft: Draft | None = None

    def digest_inputs(self) -> dict[str, str]:
        """SHA-256 of the files of a model that is a local folder."""
        return self.backbone.digest_inputs()

    def fit(self, train: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> Self:
        """Fine-tune on the instructions of train; a run that was killed resumes from `work_dir`."""
        self.start(train, seed)
        recipe = self.training.for_context(self.model)
        training = within_memory(
            recipe,
            self.model,
            self.encoder,
            self.compute,
            lambda chosen: next(self.instructions.batches(chosen, seed)),
            work_dir,
        )
        losses, run = fine_tune(
            self.model,
            self.encoder,
            self.instructions.plan(training, seed),
            lambda epoch, number: self.instructions.wrapped(number, seed, epoch),
            training,
            self.compute,
            seed=derive_seed(seed, "dropout"),
            work_dir=work_dir,
            max_minutes=self.max_minutes,
        )
        self.report = {
            "rows": len(train),
            "instructions": len(self.groups),
            **run.report(self.max_minutes),
            "epochs": -(-run.done // -(-len(self.groups) // training.batch_size)),
            "links": self.links.named(self.schema.names),
            **({"rewritten": self.rewriting.named()} if self.rewriting.units else {}),
            "parameters": sum(parameter.numel() for parameter in self.model.parameters()),
            "trained_parameters": sum(p.numel() for p in self.model.parameters() if p.requires_grad),
            **({"batch_size": training.batch_size, "accumulate": training.accumulate} if training is not recipe else {}),
            **({"processes": place()[1]} if place()[1] > 1 else {}),
            "loss_first": float(np.mean(losses[:20])),
            "loss_last": float(np.mean(losses[-20:])),
            "losses": loss_curve(losses),
        }
        return self

    def start(self, train: pd.DataFrame, seed: int) -> Self:
        """Everything of `fit` but the fine-tuning: what a model does with this table before it has learnt from it."""
        self.prepare(train, seed).load_model(seed)
        self._check_writer()
        return self

    def _check_writer(self) -> None:
        """Refuse a model that could be fine-tuned and then not be read by the sampler, or not write the table's values."""
        self.writer(self.sampling.decoding, 0)
        if self.sampling.engine == "torch":
            check_reads(self.model)

    def load_model(self, seed: int) -> Self:
        """The model, its tokenizer and the limits of its texts; needs `prepare`."""
        values = (text for row in self.cells for text in row)
        self.model, tokenizer = self.backbone.create(
            values, frequent_segments(self.codec, self.k), derive_seed(seed, "weights")
        )
        self.encoder = SegmentEncoder(tokenizer)
        self.limits = self._limits()
        return self

    def prepare(self, train: pd.DataFrame, seed: int) -> Self:
        """Everything of `fit` but the model: the texts of the rows and the groups."""
        self._take(train)
        scale = self.scale
        self.groups = make_groups(
            train,
            self.rewriting.schema,
            k=scale.group_size,
            distance=self.distance,
            label_rule=self.label_rule,
            min_agreement=self.min_agreement,
            search=self.neighbour_search,
            anchors=drawn(len(train), scale.answers, seed) if scale.draws_first else None,
        )
        if self.max_instructions is not None:
            self.groups = self.groups.take(drawn(len(self.groups), self.max_instructions, seed))
        return self

    def _take(self, train: pd.DataFrame) -> None:
        """The rows to learn from, and their texts."""
        if isinstance(self.sampling.keep, float) and len(train) < FOLDS:
            raise BadInput(f"method.sampling.keep needs {FOLDS} rows of train to judge by, but there are {len(train)}.")
        vars(self).pop("model", None)  # should this fit fail, nothing is fitted
        train = coerce(train, schema_of(train), "train")  # a copy, stored as the schema says
        self.rewriting = Rewriting.of(train) if self.row_style == "canonical" else Rewriting.none(train)
        self.train, self.schema = self.rewriting.write(train), self.rewriting.written
        self.prompt_rows = self.prompt_drawn = self._draft = None
        self.codec = RowCodec(self.schema, self.row_style)
        self.cells = RowTexts(self.codec, self.train)
        self.links = Links.of(self.train)
        self.composer = Composer(self.codec, self.k, self.examples, self.order, self.links)

    @property
    def training(self) -> Training:
        """The recipe of fine-tuning on this table; needs `prepare`."""
        training = self.backbone.training.within(self.budget)
        if self.least_read is None or self.budget == "smoke":
            return training
        return training.reading(self.least_read, len(self.train))

    @property
    def scale(self) -> Scale:
        """How much of train a run uses; needs `prepare`."""
        keeps_all = self.label_rule in ("any", "same_class") or self.schema.task == "regression"
        rows, most = len(self.train), self.max_instructions
        return Scale(rows, self.training, self.k, self.examples, self.pool, most, keeps_all)

    def sampling_prompts(self, n: int, seed: int) -> Iterator[Segments]:
        """The prompts of the first n tries, without the dialogue form; needs `prepare`.

        Under prompts=generated those of the draft: the others are made of what it will hold.
        """
        seed = derive_seed(seed, "draft") if self.sampling.prompts == "generated" else seed
        prompter = self.prompter
        return (prompter.bare(number, seed, prompter.train).text for number in range(n))

    def rows_written(self, n: int) -> int:
        """How many rows `sample` has the model write for n, those included that are not kept or not returned."""
        passes = self._passes
        if self.sampling.prompts != "generated":
            return passes.rows_written(n)
        return passes.rows_written(n) + passes.rows_written(self.sampling.draft_size(n, len(self.train)))

    def sample(
        self, n: int, *, seed: int, work_dir: Path | None = None, conditions: pd.DataFrame | None = None
    ) -> pd.DataFrame:
        """Exactly n rows the schema accepts, or SamplingFailed; a run that was killed resumes from `work_dir`.

        Sets `prompt_rows`: the train rows that the prompt of each row was made of, int64, shape (n, k), or (n, pool) for
        crossovers; (n, 0) under prompts=generated. For crossovers of train also `prompt_drawn`, bool, of that shape: of
        which of them a cell stood there.

        Args:
            n: how many.
            seed: of everything that is drawn.
            work_dir: where shards are kept, a folder of this call's own: another call would take them for its rows.
            conditions: n rows of some columns, which the rows returned hold as they are; an empty cell is no condition.
        """
        self._check_fitted()
        if conditions is not None:
            check_frame(conditions, "conditions")
            if len(conditions) != n:
                raise BadInput(f"conditions must have a row for each of the {n} wanted, but has {len(conditions)}.")
            return self._complete(conditions, "conditions", seed, work_dir, empty=True)
        check_count("n", n, 1)
        n = int(n)
        writer = self.writer(self.sampling.decoding, seed)
        source = self._source(writer, n, seed, work_dir)
        made = self._passes.run(writer, n, source, work_dir)
        prompter, numbers = self.prompter, made.rows.numbers
        shown = [prompter.shown(number, seed, source) for number in numbers]
        self.prompt_rows = prompter.train_rows(shown, source)
        self.prompt_drawn = prompter.drawn(shown, numbers, seed, source)
        return self._table(made)

    def _check_fitted(self) -> None:
        if not hasattr(self, "model"):
            raise BadInput("a method must be fitted or loaded before it writes rows or is saved: call fit or load first.")

    def read_row(self, text: str) -> dict[str, Any]:
        """The row a text stands for, as it was written; Unreadable where the schema does not hold it."""
        row = self.codec.read(text)
        self.rewriting.check(row)
        return row

    @property
    def instructions(self) -> Instructions:
        """What the model is fine-tuned on; needs `prepare`."""
        return Instructions(self.composer, self.cells, self.groups)

    @property
    def _train(self) -> Source:
        """What examples are made of, as long as they are made of train."""
        return Source(self.train, self.cells, self.groups)

    @property
    def prompter(self) -> Prompter:
        """What each try shows; needs `prepare`."""
        return Prompter(self.composer, self.sampling, self._train)

    @property
    def _passes(self) -> Passes:
        encoder = Encoder.fit(self.train, self.schema)
        return Passes(self.prompter, encoder, self.read_row, self._rows, self._keep, self.compute)

    def _source(
        self, writer: Writer | VllmWriter, n: int, seed: int, work_dir: Path | None, *, empty: bool = True
    ) -> Source:
        """What the examples of n rows are made of; under prompts=generated a draft, which serves later calls, too."""
        passes = self._passes
        if self.sampling.prompts != "generated":
            self._draft = None
            return passes.prompter.train
        wanted = self.sampling.draft_size(n, len(self.train))
        asked = (wanted, seed, self.sampling, empty)
        if self._draft is None or self._draft.asked != asked:
            writer.prepare()
            drafting = replace(writer, seed=derive_seed(seed, "draft"))
            draft_dir = work_dir / "draft" if work_dir else None
            made = passes.run(drafting, wanted, passes.prompter.train, draft_dir, "drafting")
            pool = self.scale.draft_pool(self.groups.neighbours.shape[1])
            rows = self._rows(made.rows.rows)
            source = Source.of_generated(rows, passes.encoder, self.codec, pool, within_class=self._within_class)
            self._draft = Draft(asked, source, made)
        return self._draft.source

    @property
    def _keep(self) -> float | None:
        """The share of the written rows that is kept, once the table is known; None for all of them."""
        if self.sampling.keep == "auto":
            return 0.5 if self.scale.is_large else None
        return self.sampling.keep

    def impute(self, table: pd.DataFrame, *, seed: int, work_dir: Path | None = None) -> pd.DataFrame:
        """The table with its empty cells filled; what is known stays as it is, and a row without a hole is left alone.

        `prompt_rows` and `prompt_drawn` are None afterwards: rows without a hole had no prompt.
        """
        self._check_fitted()
        schema = self.rewriting.schema
        known = coerce(table, schema.with_holes, "the table")
        holes = table.isna().any(axis=1).to_numpy()
        check_rules(known, schema, "the table", holes)
        if not holes.any():
            return coerce(table, schema, "the table").set_axis(table.index)[list(table.columns)]
        drawn = self._complete(table[holes], "the table", seed, work_dir, empty=False)
        self.prompt_rows = self.prompt_drawn = None
        whole = coerce(table[~holes], schema, "the table")
        places = np.argsort(np.concatenate([np.flatnonzero(~holes), np.flatnonzero(holes)]))
        filled = schema.restore_dtypes(pd.concat([whole, drawn]).iloc[places])
        return filled.set_axis(table.index)[list(table.columns)]

    def _complete(self, known: pd.DataFrame, name: str, seed: int, work_dir: Path | None, *, empty: bool) -> pd.DataFrame:
        """Whole rows that hold the cells that are known of them."""
        prompter, decoding = self.prompter, self.sampling.decoding
        completion = Completion.of(
            known, name, prompter, self.rewriting, self.row_style, within_class=self._within_class, seed=seed
        )
        if decoding.form != "valid":
            raise BadInput(f"known cells need decoding.form=valid, but it is {decoding.form}.")
        writer = self.writer(decoding, seed, empty=empty)
        source = self._source(writer, len(completion), seed, work_dir, empty=empty)
        read = completion.read(source)
        shown = completion.shown(read, source)
        prompts = completion.prompts(read, source, shown)
        generation = complete_rows(writer, prompts, self.read_row, len(shown), compute=self.compute, work_dir=work_dir)
        self.prompt_rows, self.prompt_drawn = prompter.train_rows(list(shown), source), None
        return completion.whole(self._table(Pass(generation)))

    @property
    def _within_class(self) -> bool:
        """Whether the examples of a row are of its class."""
        return self.schema.task != "regression" and self.label_rule == "same_class"

    def _table(self, made: Pass) -> pd.DataFrame:
        """The rows of the last pass of a call; it, and the draft behind it, go into the report."""
        self.report |= made.report("generation") | {"masks": made.rows.by_column(self.schema.names)}
        self.report["tokens_sample"] = made.tokens
        if self._draft is not None:
            self.report |= self._draft.made.report("draft", "draft_")
            self.report["tokens_sample"] += self._draft.made.tokens
        return self.rewriting.read(self._rows(made.rows.rows))

    def _rows(self, rows: Sequence[dict[str, Any]]) -> pd.DataFrame:
        """Rows as the model wrote them, as a table."""
        return coerce(pd.DataFrame(rows, columns=self.schema.names), self.schema, "the generated rows")

    def writer(self, decoding: Decoding, seed: int, *, empty: bool = True) -> Writer | VllmWriter:
        """The model as a writer of rows; with `empty` off, of rows without empty cells."""
        if self.sampling.engine == "vllm":
            return VllmWriter(self.model, self.encoder, self.codec, self.limits, decoding, seed, empty)
        if decoding.form != "valid":
            return Writer(self.model, self.encoder, self.limits, decoding, self.compute.device, seed)
        grammar = Grammar.compile(self.codec, self.encoder, empty=empty)
        implied = self.links.implied(self.train, self.codec, empty=empty)
        return Writer(self.model, self.encoder, self.limits, decoding, self.compute.device, seed, grammar, implied)

    def log_likelihood(
        self,
        rows: pd.DataFrame,
        *,
        seed: int,
        own: np.ndarray | None = None,
        withheld: np.ndarray | None = None,
        without_examples: bool = False,
        masks: bool = False,
    ) -> np.ndarray:
        """Log-likelihood of every cell in nats, float64, shape (n, c), columns as in the schema.

        Each row stands as the answer of a training instruction, in the dialogue form: behind its nearest train rows (by
        the mixed distance, within its class under label_rule=same_class) or crossovers of them, its features in an order
        drawn anew for each row where training draws one.

        Args:
            rows: n rows of train's schema.
            seed: of the orders and crossovers.
            own: int64, shape (n,): where the rows are rows of train, their numbers there. No row is shown with itself.
            withheld: int64, shape (w,): train rows that no prompt shows, none of them in `own`, so that what is measured of
                them is what the weights know.
            without_examples: each row stands as the first example instead, where nothing but the prose precedes it.
            masks: under the sampler's masks, but for values that another column's implies; a cell that they forbid has
                minus infinity.
        """
        self._check_fitted()
        rows = coerce(rows, self.rewriting.schema, "rows")
        shown = self.nearest_train_rows(rows, own, withheld)
        scored = self._answers.scored(rows, shown, seed, without_examples=without_examples)
        grammar = Grammar.compile(self.codec, self.encoder) if masks else None
        return cell_log_likelihoods(self.model, self.encoder, scored, len(rows), self.compute, grammar)

    def text_log_likelihoods(self, texts: Sequence[str]) -> list[np.ndarray]:
        """Log-likelihood in nats of each token of each text but the first, shape (t - 1,) each."""
        ids = [self.encoder.encode([text]) for text in texts]
        return text_log_likelihoods(self.model, ids, self.encoder.tokenizer.pad_token_id, self.compute)

    def nearest_train_rows(
        self, rows: pd.DataFrame, own: np.ndarray | None = None, withheld: np.ndarray | None = None
    ) -> np.ndarray:
        """The train rows whose cells `log_likelihood` shows with each row, nearest first, int64, (n, k) or (n, pool).

        Nearest as the model sees the rows (`harmonic.method.rewriting`); the groups of `fit` are of the rows as they are.
        """
        return self._answers.nearest(rows, own, withheld)

    @property
    def _answers(self) -> Answers:
        return Answers(self.composer, self._train, self.rewriting, self._within_class, self.neighbour_search)

    def save(self, folder: Path | str) -> None:
        """Weights, tokenizer, and the training rows the prompts are made of: the folder is as private as train."""
        self._check_fitted()
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        load.save(self.model, self.encoder.tokenizer, folder / "model")
        save_table(self.rewriting.read(self.train), folder)
        np.savez(folder / "groups.npz", **asdict(self.groups))
        state = {"limits": asdict(self.limits), "prompts": self._prompt_settings, "report": self.report}
        (folder / "method.json").write_text(json.dumps(state, indent=1))

    @property
    def _prompt_settings(self) -> dict[str, Any]:
        """What the model has learnt to read: prompts of another kind are strange to it."""
        return {name: getattr(self, name) for name in ("k", "order", "row_style")}

    def load(self, folder: Path | str) -> Self:
        """Take up what `save` wrote; raises BadInput where nothing was saved, or under other settings of the prompts."""
        folder = Path(folder)
        if not (folder / "method.json").is_file():
            raise BadInput(f"{folder} must be a folder that a method was saved to, but it has no method.json.")
        state = json.loads((folder / "method.json").read_text())
        saved = state.get("prompts", self._prompt_settings)
        for name, value in self._prompt_settings.items():
            if saved[name] != value:
                raise BadInput(f"{folder} was saved with {name}={saved[name]!r}, but {name} is {value!r}: give it the same.")
        self._take(load_table(folder))
        with np.load(folder / "groups.npz") as arrays:
            self.groups = Groups(arrays["anchors"], arrays["neighbours"])
        self.model, tokenizer = self.backbone.restore(folder / "model")
        self.encoder = SegmentEncoder(tokenizer)
        self.limits, self.report = Limits(**state["limits"]), state["report"]
        return self

    def prompt(self, number: int, seed: int) -> Prompt:
        """What the model is shown of train at try `number`."""
        prompter = self.prompter
        return prompter.prompt(number, seed, prompter.train)

    def shown_rows(self, number: int, seed: int) -> np.ndarray:
        """The train rows whose cells the prompt of try `number` shows, int64, shape (k,) or (pool,)."""
        prompter = self.prompter
        return prompter.shown(number, seed, prompter.train)

    def _limits(self) -> Limits:
        """A quarter more than the longest row and the longest value of train."""
        texts = [self.cells[row] for row in self.scale.measured(self.cells.lengths)]
        rows = max(len(self.encoder.encode(self.codec.row(row))) for row in texts)
        values = max(len(self.encoder.encode([text])) for row in texts for text in row)
        return Limits(row=int(1.25 * rows) + 2, value=int(1.25 * values) + 2)
