"""The base model's card: what it is, what it has read, what it can do, from the files that its making left behind."""

from collections.abc import Mapping, Sequence
from typing import Any

from harmonic.report.tables import to_markdown

CURVE_POINTS = 12


def model_card(training: Mapping[str, Any], evaluations: Sequence[Mapping[str, Any]], size_mb: float) -> str:
    """The card as Markdown.

    Args:
        training: what `scripts/pretrain_base.py` left in training.json.
        evaluations: what `scripts/evaluate_base.py` left in results/base, a file per table.
        size_mb: of the shipped files together.
    """
    recipe, machine = training["recipe"], training["env"]
    return TEMPLATE.format(
        parameters=f"{training['parameters'] / 1e6:.2f}",
        layers=recipe["layers"],
        hidden=recipe["hidden_size"],
        heads=recipe["heads"],
        mlp=recipe["mlp_size"],
        bpe=recipe["vocab_size"],
        slots=recipe["slots"],
        size=f"{size_mb:.1f}",
        tokens=f"{training['tokens'] / 1e6:.1f}",
        steps=sum(phase["steps"] for phase in recipe["phases"]),
        phases=_phases(recipe["phases"]),
        columns="{} to {}".format(*_span(recipe["phases"], "columns")),
        table_rows="{} to {}".format(*_span(recipe["phases"], "rows")),
        length=max(phase["length"] for phase in recipe["phases"]),
        seed=recipe["seed"],
        minutes=f"{training['seconds'] / 60:.0f}",
        device=machine["device"],
        threads=machine["threads"],
        precision=training["precision"],
        torch=machine["packages"]["torch"],
        transformers=machine["packages"]["transformers"],
        commit=training.get("commit") or machine["commit"],
        muon=recipe["muon_rate"],
        adam=recipe["adam_rate"],
        decay=recipe["weight_decay"],
        cooldown=f"{recipe['cooldown']:.0%}",
        curve=_curve(training["curve"]),
        bits=_bits(evaluations),
        shots=_shots(evaluations),
        validity=_validity(evaluations),
        rows=max(evaluation["rows"] for evaluation in evaluations),
    )


def _table(rows: Sequence[Mapping[str, Any]]) -> str:
    import pandas as pd

    return to_markdown(pd.DataFrame(rows))


def _span(phases: Sequence[Mapping[str, Any]], trait: str) -> tuple[int, int]:
    """Least and most of a trait over all phases."""
    return min(phase["tables"][trait][0] for phase in phases), max(phase["tables"][trait][1] for phase in phases)


def _phases(phases: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        [
            {
                "steps": phase["steps"],
                "sequences x tokens": f"{phase['rows']} x {phase['length']}",
                "columns of a table": "{} to {}".format(*phase["tables"]["columns"]),
                "rows": "{} to {}".format(*phase["tables"]["rows"]),
                "noise": "{} to {}".format(*phase["tables"]["noise"]),
                "numbers of few values": f"{phase['tables']['snapped']:.0%}",
                "random tokens repeated": f"{phase['repeats']:.0%}",
                "other tables' slots": "left out" if phase["bound_only"] else "kept",
                "rates": "anew" if phase["anew"] else "go on",
            }
            for phase in phases
        ]
    )


def _curve(curve: Sequence[Mapping[str, float]]) -> str:
    parts = ("key", "category", "number")
    chosen = [curve[round(place * (len(curve) - 1) / (CURVE_POINTS - 1))] for place in range(CURVE_POINTS)]
    return _table(
        [
            {
                "M tokens": f"{point['tokens'] / 1e6:.1f}",
                **{
                    f"{part}, {row} row{'s' if row == 'later' else ''}": f"{point[f'{part}_{row}']:.2f}"
                    for part in parts
                    for row in ("first", "later")
                },
            }
            for point in chosen
        ]
    )


def _bits(evaluations: Sequence[Mapping[str, Any]]) -> str:
    columns = {
        "marginal": "marginal",
        "copy": "copy",
        "copy or marginal": "copy or marginal",
        "zero-shot, k = 5": "base, 5 neighbours",
        "zero-shot, masks": "under masks",
        "fine-tuned": "base, fine-tuned",
        "fine-tuned, masks": "under masks, fine-tuned",
    }
    return _table(
        [
            {"table": _name(e), **{title: _figure(e["bits_per_cell"].get(key)) for key, title in columns.items()}}
            for e in evaluations
        ]
    )


def _shots(evaluations: Sequence[Mapping[str, Any]]) -> str:
    keys = [key for key in evaluations[0]["bits_per_cell"] if key.startswith("zero-shot, k")]
    titles = {key: key.removeprefix("zero-shot, ") for key in keys}
    return _table(
        [
            {"table": _name(e), **{title: _figure(e["bits_per_cell"][key]) for key, title in titles.items()}}
            for e in evaluations
        ]
    )


def _validity(evaluations: Sequence[Mapping[str, Any]]) -> str:
    return _table(
        [
            {
                "table": _name(e),
                "before fine-tuning": _figure(e["validity"]["zero-shot"]),
                "after": _figure(e["validity"].get("fine-tuned")),
                "fine-tuning, batches": f"{e['costs']['batches']:.0f}" if e["costs"] else "–",
                "seconds": f"{e['costs']['time_fit_s']:.0f}" if e["costs"] else "–",
            }
            for e in evaluations
        ]
    )


def _name(evaluation: Mapping[str, Any]) -> str:
    count = evaluation["tables"]
    return f"{evaluation['dataset']} ({count} held-out tables)" if count > 1 else str(evaluation["dataset"])


def _figure(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


TEMPLATE = """\
# The base model

<!-- Written by scripts/make_base_card.py from training.json and results/base: change those, not this. -->

A language model for tables that has never seen a real one: {parameters} million parameters, Llama architecture
({layers} layers of {hidden}, {heads} heads, MLP {mlp}, tied embeddings), float32 safetensors, {size} MB with its
tokenizer. It loads with `AutoModelForCausalLM.from_pretrained(folder)` and is HARMONIC's default (`model=base`).

**No real table was used.** Everything it has read was drawn by `harmonic/lm/base/prior.py` from random structural
causal models, under names put together by `names.py`; no file is opened while tables are drawn, and the modules that
make them import none that loads data. `tests/lm/base/test_prior.py` checks both. What it knows of a benchmark's rows
after fine-tuning, it has from the fine-tuning.

## Data

Tables of {columns} columns and {table_rows} rows: latent factors and clusters, a chain of random links with noise, seen
as measured, skewed, zero-inflated, bounded, counted, rounded and spiked numbers, years, Unix time stamps,
identifiers, dates in five forms, booleans, categories of 2 to 60 values with words, invented words or codes for
names, empty cells, and targets of 2 to 10 classes or a number. Each is written as HARMONIC's instructions (1 to 8
examples, neighbours or random rows, features in one order or shuffled, with or without the dialogue form) and, for
one table in eight, as LLE's questions.

Tokenizer: byte-level BPE of {bpe} tokens with single digits, a token for each text that the format fixes, and {slots}
*slots*: tokens without a meaning of their own. In pre-training each table's keys and named categories are given
random slots (all of them for three tables in four, half or none for the others). In fine-tuning
`harmonic.lm.vocabulary.bind` gives them to the table at hand: a key is one token, and the text stays what it was.

## Training

{tokens} million tokens in {steps} steps, seed {seed}; {minutes} minutes on {threads} threads of a shared {device},
{precision}, torch {torch}, transformers {transformers}, commit {commit}. Muon ({muon}, weight decay {decay}) for the
matrices, AdamW ({adam}) for the rest, falling to nothing over the last {cooldown} of each cycle; the second cycle begins
with rates and optimisers anew. Prose and first rows weigh a tenth. Where other tables' slots are left out, the
softmax covers what it covers in use, when `bind` has dropped the slots that are bound to nothing.

{phases}

Again, with `threads=` the cores there are: `python scripts/pretrain_base.py out=FOLDER threads=2`; it goes on where
it was killed. Loss in nats per token while training, on tables seen once; the fall from first to later rows is what
the model takes from its context:

{curve}

## Evaluation

Bits per cell (value and closing quote, given the key and all before) of up to {rows} test rows a table, lower is
better. *marginal*: the column's distribution in train, exact values mixed with a histogram; *copy*: a random
example's value, mixed with the uniform distribution; *copy or marginal*: both. Their shares are fitted on validation
rows, column by column, and they fall back to what the column can hold, so they know the table; the base model knows
the five neighbours of the row alone. All read numbers as the method writes them (`harmonic/method/rewriting.py`). *Under
masks* the model too knows what a column can hold, as when rows are sampled.

{bits}

Without fine-tuning, by the number k of neighbours shown:

{shots}

Share of rows that parse and obey the schema when the model writes keys and values freely, at temperature 1:

{validity}

## Limits

* Small on purpose: it copies, counts and interpolates what stands before it, and knows no word's meaning.
* Trained on sequences of up to {length} tokens and tables of {columns} columns; wider tables work through fine-tuning.
* English-looking names; other scripts are read byte by byte. Free text is not its business.
* Time stamps cost it more than the marginal does: in seconds, since it cannot divide by 86 400; in minutes, as the method
  writes those of buddy, since it expects ten digits until it is fine-tuned or masked.
* Before fine-tuning it does not know which words belong to which column, and spends probability on those of others; the
  sampler's masks tell it (compare the columns of bits). Where examples disagree, its shares are still off by bits.
* It leans on its examples: rows prompted with a train row's neighbours come near that row on tables of few, coarse columns.
* It keeps no secret of its own, having none; a *fine-tuned* copy is as private as the table it was tuned on.
"""
