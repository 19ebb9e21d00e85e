"""The report. Oracles: a parser of HTML, what the records say, and the rule that a page needs nothing but itself."""

import importlib.util
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest

from harmonic.report.markup import Text, note, table
from harmonic.report.page import Report, Source
from harmonic.report.pictures import of_dataset
from tests.report.records import record

EVIL = "<script>alert('x')</script>&\"'"
VOID = {"meta", "img", "link", "br"}


class Page(HTMLParser):
    """A page as its parser sees it: tags, attributes and texts; fails where tags are not closed in order."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.texts, self.open = Counter(), [], [], []
        self.feed(html)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags[tag] += 1
        self.attributes += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)


def report(records, pictures=None):
    sources = [Source(one, f"runs/{place}/record.json") for place, one in enumerate(records)]
    return Report(sources, pictures or {}).html()


def evil_records():
    """Records in which every text that can be is markup."""
    values = {"mle_f1_macro": 0.5, "mle_f1_weighted": 0.5, "mia_auc": 0.6, f"shape:{EVIL}": 0.5, f"shape_real:{EVIL}": 0.6}
    made = [record(EVIL, model=EVIL, dataset=EVIL, schema=(EVIL,), **values), record("smote", dataset=EVIL, **values)]
    failed = record("tvae", dataset=EVIL, error=EVIL)
    failed.error |= {"trace": EVIL, "type": EVIL, "stage": EVIL}
    env = {"commit": EVIL, "device": EVIL, "packages": {"torch": EVIL}}
    return [replace(one, env=env) for one in (*made, failed)]


@pytest.mark.filterwarnings("ignore:Glyph")
def test_nothing_from_a_record_is_markup():
    """Oracle: the parser: no script, no attribute that runs anything; and every name is there as text."""
    records = evil_records()
    page = Page(report(records, {EVIL: of_dataset(records)}))
    assert page.tags["script"] == 0
    assert not [name for name, _ in page.attributes if name.startswith("on")]
    assert not [value for _, value in page.attributes if value and value.lower().startswith("javascript:")]
    assert sum(EVIL in text for text in page.texts) > 10


def test_the_page_needs_no_network():
    """Oracle: the rule: every link is an anchor of the page or a record's path, every picture is inside."""
    records = [record(name, mle_f1_macro=0.5, mia_auc=0.6) for name in ("smote", "tvae")]
    html = report(records, {"german": of_dataset(records)})
    page = Page(html)
    anchors = {value for name, value in page.attributes if name == "id"}
    assert len(anchors) == sum(name == "id" for name, _ in page.attributes)
    for name, value in page.attributes:
        if name == "href":
            assert value.removeprefix("#") in anchors if value.startswith("#") else value.startswith("runs/")
        if name == "src":
            assert value.startswith("data:image/svg+xml;base64,")
    assert page.tags["img"] == 1
    assert not re.search(r"@import|url\(", html)
    assert page.tags["link"] == 0


def test_every_row_leads_to_its_records():
    """Oracle: the records' own paths: each is linked once, in its data set's list, and the table's row points there."""
    records = [record("smote", seed, mle_f1_weighted=0.5) for seed in (0, 1)] + [record("tvae", mle_f1_weighted=0.4)]
    html = report(records)
    for place in range(3):
        assert html.count(f'href="runs/{place}/record.json"') == 1
    (anchor,) = set(re.findall(r'<a href="#(row-[\d-]+)">smote</a>', html))
    item = html.partition(f'<li id="{anchor}">')[2].partition("</li>")[0]
    assert [f"runs/{place}/" in item for place in range(3)] == [True, True, False]


def test_what_failed_is_told():
    """Oracle: the record: where, what kind, why, the trace, and where it lies; the table says failed."""
    failed = record("tvae", 3, error="the memory was not enough", stage="sample")
    failed.error["trace"] = "line 7 of somewhere"
    html = report([record("smote", mle_f1_weighted=0.5), failed])
    told = html.partition('<div class="failure">')[2].partition("</div>")[0]
    for words in (
        "german",
        "tvae",
        "seed 3",
        "sample",
        "BadInput",
        "the memory was not enough",
        "line 7",
        "runs/1/record.json",
    ):
        assert words in told
    assert '<td class="number failed">failed</td>' in html
    assert "Nothing failed." in report([record("smote", mle_f1_weighted=0.5)])


def test_one_file_that_was_read_in_two_ways():
    """Oracle: by hand: two data sets, each with its own figure in its own section."""
    whole, less = (record("smote", mle_f1_macro=value) for value in (0.123, 0.987))
    whole.config["dataset"], less.config["dataset"] = {"path": "g.csv"}, {"path": "g.csv", "drop": ["id"]}
    html = report([whole, less])
    assert len(re.findall(r"german \[\w+\]</h2>", html)) == 2
    assert "0.123" in html
    assert "0.987" in html


def test_a_failure_before_there_were_data():
    """Oracle: by hand: the data set has its section, a table of failures, and no sizes."""
    failed = replace(record("smote", dataset="adult", error="no such file", stage="data"), data={}, costs={})
    page = Page(report([failed]))
    assert "no such file" in " ".join(page.texts)


def test_the_papers_tables_are_there():
    """Oracle: the paper's figure and ours, with the mark as an element."""
    records = [
        record(name, seed, mle_f1_weighted=mean + 0.001 * seed)
        for name, mean in (("smote", 0.8), ("tvae", 0.7))
        for seed in range(3)
    ]
    html = report(records)
    assert '<td class="number">0.64 ± 0.02</td>' in html
    assert '<td class="number"><strong>0.801 ± 0.001</strong></td>' in html


def test_the_same_page_twice():
    """Oracle: repetition: no date, no order that changes."""
    assert report(evil_records()) == report(evil_records())


def test_a_cell_by_hand():
    """Oracle: by hand."""
    assert Text("a<b", "x?y&z", "best").markup() == '<td><strong><a href="x?y&amp;z">a&lt;b</a></strong></td>'
    assert Text("–").markup(True) == '<td class="number hole">–</td>'
    assert Text("0.5", mark="second").markup(True) == '<td class="number"><u>0.5</u></td>'


def test_columns_of_numbers_are_aligned():
    """Oracle: by hand: a column of figures and holes is, one with a word in it is not."""
    html = table(["a", "b"], [[Text("0.5 ± 0.1"), Text("7")], [Text("–"), Text("as train")]], name="x<y")
    assert html.count('class="number"') == 2
    assert '<th scope="col" class="number">a</th><th scope="col">b</th>' in html
    assert 'aria-label="x&lt;y"' in html


def test_notes_by_hand():
    """Oracle: by hand; an underscore inside a name is none of emphasis."""
    assert note("*a* **b** _c d_ x_y_z <i>") == "<p><em>a</em> <strong>b</strong> <u>c d</u> x_y_z &lt;i&gt;</p>"


@pytest.fixture
def script():
    path = Path(__file__).parents[2] / "scripts" / "make_report.py"
    spec = importlib.util.spec_from_file_location("make_report", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script(script, tmp_path, monkeypatch, capsys):
    """Oracle: by hand: one page whose links lead to the records from where it lies, plots as files, the same bytes twice;
    the goals on folds, which are no records of the page."""
    for one in [record(name, mle_f1_macro=0.5, mia_auc=0.6) for name in ("smote", "tvae")]:
        one.write(tmp_path / "results" / "runs")
    out, plots = tmp_path / "results" / "report.html", tmp_path / "plots"
    for number in range(5):
        fold = record(
            "harmonic", number, model="base", target="harmonic.method.Harmonic", mle_f1_weighted=0.51, c2st_auc=0.7
        )
        fold.config["dataset"] = {"fold": number}
        fold.write(tmp_path / "results" / "study")
    folders = [str(tmp_path / "results" / "runs"), str(out), str(tmp_path / "results" / "study")]
    monkeypatch.setattr("sys.argv", ["", *folders, "--plots", str(plots)])
    pages = []
    for _ in range(2):
        assert script.main() == 0
        pages.append(out.read_bytes())
    assert pages[0] == pages[1]
    html = pages[0].decode()
    assert html.index("by cross-validation") < html.index("<td><strong>reached: .700 ± .000</strong></td>")
    links = re.findall(r'href="(runs/[^"]+)"', html)
    assert len(links) == 2
    assert all((out.parent / link).is_file() for link in links)
    assert [path.name for path in plots.iterdir()] == ["german_tradeoff.png"]
    assert str(out) in capsys.readouterr().out


def test_the_script_without_records(script, tmp_path, monkeypatch, capsys):
    """Oracle: the rule for what a user can cause."""
    monkeypatch.setattr("sys.argv", ["", str(tmp_path / "none"), str(tmp_path / "report.html")])
    assert script.main() == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert not (tmp_path / "report.html").exists()
