"""The report: one HTML file that needs nothing else, from records alone."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any

import pandas as pd

from harmonic.record import Record
from harmonic.report.comparison import Block, Line, compare
from harmonic.report.entries import HOLE, summarise
from harmonic.report.goals import REACHED, TITLE, sheets_of_goals
from harmonic.report.groups import Group, by_dataset, group, titles
from harmonic.report.layouts import LAYOUTS, Layout
from harmonic.report.markup import Text, details, link, note, picture, section, table
from harmonic.report.pictures import Picture
from harmonic.report.plots import to_svg
from harmonic.report.published import published
from harmonic.report.renderings import COST_TITLES, TEXTS
from harmonic.report.tables import sheets, table_of

STYLE = Path(__file__).with_suffix(".css")
EXPENSES = {
    "time_fit_s": "fit s",
    "time_sample_s": "sample s",
    "sample_rows_per_s": "rows a second",
    "sample_tokens_per_s": "tokens a second",
    "peak_memory_fit_mb": "fit, peak MB",
    "peak_memory_sample_mb": "sample, peak MB",
}
"""What a stage cost when it first ran."""
PACKAGES = ("python", "torch", "transformers", "scikit-learn", "numpy")


@dataclass(frozen=True)
class Source:
    """A record and where it lies."""

    record: Record
    path: str
    """Relative to the page."""


@dataclass(frozen=True)
class Report:
    """Everything the page shows."""

    sources: Sequence[Source]
    pictures: Mapping[str, Sequence[Picture]]
    """By data set; those over all under the empty name."""
    study: Sequence[Record] = ()
    """Records of folds, for the goals alone."""

    @cached_property
    def records(self) -> list[Record]:
        """The records, in order."""
        return [source.record for source in self.sources]

    @cached_property
    def anchors(self) -> dict[int, str]:
        """Where on the page a record, by its identity, is listed."""
        return {
            id(record): f"row-{number}-{place}"
            for number, some in enumerate(by_dataset(self.records).values())
            for place, row in enumerate(group(some))
            for record in row.records
        }

    def html(self) -> str:
        """The page."""
        by_name = by_dataset(self.records)
        numbers = {dataset: f"data-{number}" for number, dataset in enumerate(by_name)}
        failed = [source for source in self.sources if source.record.error]
        parts = [
            section("overview", "Overview", self._overview(by_name)),
            *([section("goals", TITLE, self._goals())] if self._has_goals else []),
            *(section(layout.name, layout.title, self._comparison(layout)) for layout in LAYOUTS),
            *([section("ranks", "Over data sets", *map(_picture, self.pictures[""]))] if self.pictures.get("") else []),
            *(section(numbers[name], name, *self._dataset(name, some)) for name, some in by_name.items()),
            section("failures", "What failed, and why", *map(_failure, failed) if failed else [note("Nothing failed.")]),
        ]
        links = [("overview", "Overview"), *([("goals", TITLE)] if self._has_goals else [])]
        links += [(layout.name, layout.title) for layout in LAYOUTS]
        links += [("ranks", "Over data sets")] if self.pictures.get("") else []
        links += [(numbers[name], name) for name in by_name] + [("failures", "What failed, and why")]
        nav = "".join(f'<a href="#{anchor}">{escape(name)}</a>' for anchor, name in links)
        return (
            '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
            '<meta name="viewport" content="width=device-width, initial-scale=1">'
            f"<title>HARMONIC: results</title><style>{STYLE.read_text(encoding='utf-8')}</style></head>\n"
            f"<body><nav><strong>HARMONIC</strong>{nav}</nav>\n<main><h1>HARMONIC: results</h1>\n"
            + "\n".join(parts)
            + "\n</main></body></html>\n"
        )

    def _overview(self, by_name: Mapping[str, Sequence[Record]]) -> str:
        rows = [
            [
                Text(dataset),
                Text(str(len({record.cell.method for record in some}))),
                Text(str(len(some))),
                Text(str(len({record.cell.seed for record in some}))),
                Text(str(sum(record.status == "failed" for record in some))),
                Text(str(_schema(some).get("task", HOLE))),
                *(Text(str(_rows(some).get(side, HOLE))) for side in ("train", "val", "test")),
            ]
            for dataset, some in by_name.items()
        ]
        head = ("data set", "methods", "records", "seeds", "failed", "task", "train rows", "val rows", "test rows")
        env = [record.env for record in self.records]
        made = {
            "commit": Counter(str(each.get("commit", HOLE)) for each in env),
            "machine": Counter(str(each.get("device", HOLE)) for each in env),
            **{
                name: Counter(str(each.get(name) or each.get("packages", {}).get(name, HOLE)) for each in env)
                for name in PACKAGES
            },
        }
        made_with = [
            [Text(name), Text(", ".join(f"{value} ({count})" for value, count in sorted(counts.items())))]
            for name, counts in made.items()
        ]
        return (
            note(
                "Everything here is made from the records, one JSON file for each cell (data set, method, model, seed). A "
                "method's name leads to its records. Costs are of the machine that first ran a stage."
            )
            + table(head, rows, name="data sets")
            + note("What wrote the records, with how many each:")
            + table(("", "records"), made_with, name="what wrote the records")
        )

    @property
    def _has_goals(self) -> bool:
        """Whether there are records on a table that has goals."""
        return any(record.cell.dataset in published().datasets for record in self.records)

    def _goals(self) -> str:
        parts = []
        for told, reached in sheets_of_goals(self.records, self.study):
            rows = [
                [Text(goal), *(Text(cell, mark="best" if cell.startswith(REACHED) else "") for cell in cells)]
                for goal, *cells in reached.itertuples(index=False, name=None)
            ]
            parts += [note(told), table(list(reached.columns), rows, name=TITLE, is_prose=True)]
        return "".join(parts)

    def _comparison(self, layout: Layout) -> str:
        notes = [*layout.notes, f"The paper's figures: {published().source}."]
        return "".join([*map(note, notes), *(self._block(block, layout) for block in compare(self.records, layout))])

    def _block(self, block: Block, layout: Layout) -> str:
        scores = Counter(column.score for column in layout.columns)
        head = [*TEXTS.values(), *(column.title for column in layout.columns), *COST_TITLES]
        rows = [
            [
                *(Text(getattr(line, name), self._origin(line) if name == "method" else "") for name in TEXTS),
                *(Text(entry.text, mark=entry.mark) for entry in (*line.entries, *line.costs)),
            ]
            for line in block.lines
        ]
        groups = [("", len(TEXTS)), *scores.items(), ("", len(COST_TITLES))]
        return f"<h3>{escape(block.dataset)}</h3>{table(head, rows, groups, name=f'{layout.title}, {block.dataset}')}"

    def _origin(self, line: Line) -> str:
        return f"#{self.anchors[id(line.group.records[0])]}" if line.group else ""

    def _dataset(self, name: str, records: Sequence[Record]) -> list[str]:
        groups = group(records)
        places = {(row.method, row.model, row.rows): f"#{self.anchors[id(row.records[0])]}" for row in groups}
        parts = [_sheet(name, title, sheet, places) for title, sheet in sheets(table_of(records)).items() if title != "cost"]
        parts += [
            "<h3>cost</h3>",
            _costs(name, groups, places),
            *(_picture(one, name) for one in self.pictures.get(name, [])),
        ]
        paths = {id(source.record): source.path for source in self.sources}
        items = [
            f'<li id="{self.anchors[id(row.records[0])]}">{escape(title)}: '
            + ", ".join(link(paths[id(record)]) for record in row.records)
            + "</li>"
            for row, title in zip(groups, titles(groups), strict=True)
        ]
        return [*parts, "<h3>records</h3>", f"<ul>{''.join(items)}</ul>"]


def _schema(records: Sequence[Record]) -> dict[str, Any]:
    return next((record.data["schema"] for record in records if "schema" in record.data), {})


def _rows(records: Sequence[Record]) -> dict[str, Any]:
    found = (record.data.get("hygiene", {}).get("rows") for record in records)
    return next((rows for rows in found if rows), {})


def _sheet(dataset: str, title: str, sheet: pd.DataFrame, places: Mapping[tuple[str, str, str], str]) -> str:
    rows = [
        [Text(line[0], places.get((line[0], line[1], line[2]), "")), *map(Text, line[1:])]
        for line in sheet.astype(str).itertuples(index=False, name=None)
    ]
    return f"<h3>{escape(title)}</h3>{table(list(sheet.columns), rows, name=f'{dataset}, {title}')}"


def _costs(dataset: str, groups: Sequence[Group], places: Mapping[tuple[str, str, str], str]) -> str:
    shown = {key: head for key, head in EXPENSES.items() if any(key in r.costs for row in groups for r in row.records)}
    rows = [
        [
            Text(row.method, places[row.method, row.model, row.rows]),
            *map(Text, (row.model, row.rows, row.seeds, row.budget() or HOLE)),
            *(Text(summarise(row.costs(key), 0).text) for key in shown),
            Text(summarise([record.time_score_s or None for record in row.records], 0).text),
            Text(", ".join(sorted({_machine(record) for record in row.records}))),
        ]
        for row in sorted(groups, key=lambda row: (not row.is_reference, row.method, row.model, row.rows))
    ]
    head = ["method", "model", "rows", "seeds", "budget", *shown.values(), "score s", "machine"]
    return table(head, rows, name=f"{dataset}, cost")


def _machine(record: Record) -> str:
    """Where the fit first ran, as far as the record tells."""
    return str(record.costs.get("device_fit") or record.env.get("device") or HOLE)


def _picture(one: Picture, dataset: str = "all data sets") -> str:
    return f"<h3>{escape(one.title)}</h3>{picture(to_svg(one.figure), f'{dataset}: {one.title}', one.caption)}"


def _failure(source: Source) -> str:
    cell, error = source.record.cell, source.record.error or {}
    model = "" if cell.model == "none" else f", {cell.model}"
    told = f"{cell.dataset}, {cell.method}{model}, seed {cell.seed}: failed in {error.get('stage')}, {error.get('type')}"
    trace = details("trace", error["trace"]) if error.get("trace") else ""
    message = escape(str(error.get("message")))
    return f'<div class="failure"><p>{escape(told)}</p><p>{message}</p>{trace}{link(source.path)}</div>'
