"""Plots. Oracles: what a drawn figure holds, by hand, and repetition byte for byte."""

import io
import re

import numpy as np
import pytest

from harmonic.report.pictures import TRAIN, of_all, of_dataset
from harmonic.report.plots import INK, cliques_of, draw_ranks, draw_shapes, draw_tradeoff, save_png, shorten, to_svg
from harmonic.report.significance import Ranking, rank
from harmonic.report.tradeoff import tradeoff
from tests.report.records import record

ODD = "$\\frac{1}$ <script>alert(1)</script> --> 日"


def texts(figure):
    """Everything that is written in a figure."""
    from matplotlib.text import Text

    return [text.get_text() for text in figure.findobj(Text) if text.get_text()]


def scored(method, utility, privacy, **values):
    return record(method, mle_f1_macro=utility, mia_auc=privacy, **values)


def test_the_trade_off_names_every_method():
    """Oracle: by hand: the three methods, and what the axes show."""
    figure = draw_tradeoff(tradeoff([scored("smote", 0.8, 0.9), scored("tvae", 0.7, 0.6), scored("copy", 0.8, 1.0)]))
    said = texts(figure)
    assert {"smote", "tvae", "copy"} <= set(said)
    assert any("F1 macro" in text for text in said)
    assert any("attack" in text for text in said)


def test_names_stay_where_they_were_put():
    """Oracle: geometry: at any resolution a name is by its point, inside the picture, and covers no name and no point."""
    random = np.random.default_rng(0)
    records = [scored(f"method_{i}", *(0.6 + 0.02 * random.normal(size=2))) for i in range(12)]
    found = tradeoff(records)
    figure = draw_tradeoff(found)
    (axes,) = figure.axes
    for dpi in (72, 130):
        figure.savefig(io.BytesIO(), format="png", dpi=dpi)
        figure.set_dpi(dpi)
        figure.canvas.draw()
        boxes = {text.get_text(): text.get_window_extent() for text in axes.texts}
        for point in found.points:
            x, y = axes.transData.transform((point.x.mean, point.y.mean))
            box = boxes[point.name]
            distance = np.hypot(max(box.x0 - x, x - box.x1, 0), max(box.y0 - y, y - box.y1, 0))
            assert distance < dpi * 0.9
            assert not any(other.contains(x, y) for other in boxes.values())
            inside = figure.bbox
            assert inside.x0 <= box.x0 and box.x1 <= inside.x1 and inside.y0 <= box.y0 and box.y1 <= inside.y1
        names = list(boxes.values())
        assert not any(a.overlaps(b) for i, a in enumerate(names) for b in names[:i])


def test_ranks_are_written_with_their_names():
    """Oracle: by hand."""
    figure = draw_ranks(rank({"a": [1, 1, 2], "b": [2, 2, 1], "c": [3, 3, 3]}))
    assert {" a (1.33) ", " b (1.67) ", " c (3.00) "} <= set(texts(figure))


def test_bars_join_what_is_not_told_apart():
    """Oracle: by hand: with a critical difference of 1.5, of ranks 1, 2, 4, 5 the middle two are apart."""
    ranking = Ranking(tuple("abcd"), (1.0, 2.0, 4.0, 5.0), 10, 0.001, 1.5)
    assert cliques_of(ranking) == [(0, 1), (2, 3)]
    assert cliques_of(Ranking(tuple("abcd"), (1.0, 2.0, 3.0, 4.0), 10, 0.001, 2.5)) == [(0, 2), (1, 3)]
    assert cliques_of(Ranking(tuple("abcd"), (1.0, 2.0, 3.0, 4.0), 10, 0.001, 9.0)) == [(0, 3)]
    assert cliques_of(Ranking(tuple("ab"), (1.0, 2.0), 10, 0.001, 0.5)) == []


@pytest.mark.parametrize(("p_value", "bars"), [(0.01, 1), (0.5, 0)])
def test_no_bars_where_friedman_finds_nothing(p_value, bars):
    """Oracle: Demšar's order: Nemenyi's test only where Friedman's rejects."""
    (axes,) = draw_ranks(Ranking(tuple("ab"), (1.0, 2.0), 10, p_value, 1.5)).axes
    assert sum(line.get_linewidth() == 3 for line in axes.lines) == bars


def test_a_heat_map_writes_its_scores():
    """Oracle: by hand; a hole has no number."""
    said = texts(draw_shapes(["smote", "tvae"], ["age", "sex"], np.array([[1.0, 0.256], [np.nan, 0.5]])))
    assert {"1.00", ".26", ".50", "age", "sex", "smote", "tvae"} <= set(said)
    assert "nan" not in said


@pytest.mark.filterwarnings("error")
def test_odd_names_are_drawn_as_they_are():
    """Oracle: names are no mathematics and no markup: the SVG is well-formed, has no script, and no warning is given."""
    from xml.etree import ElementTree

    figures = [
        draw_shapes([ODD], [ODD, ""], np.array([[0.5, np.nan]])),
        draw_tradeoff(tradeoff([scored(ODD, 0.5, 0.6), scored("_b", 0.6, 0.5)])),
        draw_ranks(rank({ODD: [1, 1], "b": [2, 2]})),
    ]
    for figure in figures:
        tree = ElementTree.fromstring(to_svg(figure))
        assert not [node for node in tree.iter() if node.tag.endswith("script")]


def test_svg_takes_the_pages_colour_and_repeats():
    """Oracle: the colour's own value is gone; two drawings of the same records are the same bytes."""
    made = [to_svg(draw_tradeoff(tradeoff([scored("a", 0.5, 0.6), scored("b", 0.6, 0.5)]))) for _ in range(2)]
    assert made[0] == made[1]
    assert INK not in made[0]
    assert "currentColor" in made[0]
    assert not re.findall(r'(?:href|src)="(?!#)', made[0])


def test_png(tmp_path):
    """Oracle: the signature of the format."""
    save_png(draw_ranks(rank({"a": [1, 1], "b": [2, 2]})), tmp_path / "ranks.png")
    assert (tmp_path / "ranks.png").read_bytes().startswith(b"\x89PNG")


def test_names_that_do_not_fit():
    """Oracle: by hand."""
    assert shorten("a\n b") == "a b"
    assert shorten("x" * 30) == "x" * 30
    assert shorten("x" * 31) == "x" * 29 + "…"


def test_pictures_are_of_what_there_is():
    """Oracle: by hand: no shapes without their scores, no trade-off of one method, no ranks on one data set."""
    assert of_dataset([record("smote", mle_f1_macro=0.5)]) == []
    assert of_all([record(name, mle_f1_macro=0.5) for name in "ab"]) == []
    shapes = {"shape:age": 0.5, "shape_real:age": 0.9}
    (picture,) = of_dataset([record("smote", schema=("age", "sex"), **shapes), record("tvae", dcr_mean=1.0)])
    assert picture.name == "shapes"
    assert {TRAIN, "smote", "age", ".50", ".90"} <= set(texts(picture.figure))
    assert "sex" not in texts(picture.figure)
    assert picture.caption.endswith("Without these scores: tvae.")


def test_columns_are_in_the_order_of_the_schema():
    """Oracle: by hand; a mean over seeds, and a hole where a seed lacks the score."""
    records = [
        record("smote", seed, schema=("z", "a"), **{"shape:a": value, "shape:z": value})
        for seed, value in enumerate((0.25, 0.75))
    ]
    records.append(record("tvae", 0, schema=("z", "a"), **{"shape:z": 0.125}))
    (picture,) = of_dataset(records)
    axes = picture.figure.axes[0]
    assert [label.get_text() for label in axes.get_xticklabels()] == ["z", "a"]
    np.testing.assert_array_equal(axes.images[0].get_array().filled(-1), [[0.5, 0.5], [0.125, -1]])


def test_captions_name_what_is_left_out():
    """Oracle: by hand."""
    records = [record(name, dataset=dataset, mle_f1_macro=0.5) for name in "ab" for dataset in "xy"]
    (picture,) = of_all([*records, record("lonely", dataset="x", mle_f1_macro=0.5)])
    assert "Methods left out, where a score is missing: lonely." in picture.caption
    assert "it finds no difference" in picture.caption
