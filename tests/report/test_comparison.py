"""The paper's tables from records. Oracles: the paper's cells, hand computation, and the rules about holes and marks."""

import pytest

from harmonic.report.comparison import compare
from harmonic.report.layouts import PRIVACY, UTILITY
from tests.report.records import record

MLE, LLE = {"paper": 0, "published": 1, "corrected": 2}, {"paper": 3, "published": 4, "corrected": 5}
DCR, DLT = {"paper": 0, "published": 1, "corrected": 2}, {"paper": 6, "train": 7, "real": 8, "corrected": 9}


def lines(records, layout=UTILITY, dataset="german"):
    (block,) = [block for block in compare(records, layout) if block.dataset == dataset]
    return block.lines


def line(records, method, layout=UTILITY, dataset="german"):
    (found,) = [line for line in lines(records, layout, dataset) if line.method == method]
    return found


def of_seeds(method, key, values, **constant):
    return [record(method, seed, **{key: value}, **constant) for seed, value in enumerate(values)]


def test_three_forms_stand_side_by_side():
    """Oracle: the paper's .64±.02; by hand: .6 and .7 have the mean .65 and the deviation .071."""
    found = line(
        [record("smote", seed, mle_published=value, mle_f1_weighted=0.5) for seed, value in enumerate((0.6, 0.7))], "smote"
    )
    assert [found.entries[place].text for place in MLE.values()] == ["0.64 ± 0.02", "0.650 ± 0.071", "0.500 ± 0.000"]
    assert [found.entries[place].text for place in LLE.values()] == ["0.67 ± 0.03", "–", "–"]
    assert (found.paper, found.seeds, [cost.text for cost in found.costs]) == ("SMOTE", "2", ["1 ± 0", "2 ± 0"])


def test_the_paper_is_beside_what_follows_it():
    """Oracle: the paper's method is harmonic_published; ours, and a variant under a label, have no figure there."""
    records = [record(name, model="base") for name in ("harmonic", "harmonic_published", "realtabformer_100_epochs")]
    assert line(records, "harmonic_published").entries[MLE["paper"]].text == "0.55 ± 0.03"
    for name in ("harmonic", "realtabformer_100_epochs"):
        assert line(records, name).entries[MLE["paper"]].text == "–"
        assert line(records, name).paper == ""


def test_the_original_is_copy():
    """Oracle: the paper's .50±.00, for models trained on the real rows; it has no distance."""
    assert line([record("copy")], "copy").entries[MLE["paper"]].text == "0.50 ± 0.00"
    assert line([record("copy")], "copy", PRIVACY).entries[DCR["paper"]].text == "–"


def test_methods_without_records_keep_their_row():
    """Oracle: the paper's nine columns on each of its four sets, whatever records there are."""
    blocks = compare([], UTILITY)
    assert [block.dataset for block in blocks] == ["german", "adult", "diabetes", "buddy"]
    for block in blocks:
        assert [found.paper for found in block.lines] == [
            *("Original", "HARMONIC", "SMOTE", "TVAE", "CTAB-GAN", "TabDDPM", "TabSyn", "GReaT", "REaLTabFormer")
        ]
        assert all(found.seeds == "0" and found.entries[MLE["corrected"]].text == "–" for found in block.lines)
    assert "copy" not in [found.method for found in lines([], PRIVACY)]


def test_other_data_sets_come_after_without_the_paper():
    """Oracle: by hand."""
    blocks = compare([record("smote", dataset="affairs", mle_f1_weighted=0.7)], UTILITY)
    assert [block.dataset for block in blocks][-1] == "affairs"
    (only,) = blocks[-1].lines
    assert (only.paper, [entry.text for entry in only.entries]) == ("", ["–", "–", "0.700", "–", "–", "–"])


def test_rows_are_in_the_papers_order():
    """Oracle: by hand: references, the paper's, others by name, controls."""
    named = ["tvae", "smote", "tabargn", "ctgan", "harmonic", "harmonic_published", "holdout", "independent", "copy"]
    records = [record(name, dcr_holdout_mean=1.0, dcr_mean=1.0) for name in named]
    records.append(record("noisy_copy", target="baselines.controls.NoisyCopy"))
    order = [found.method for found in lines(records, PRIVACY)]
    assert order[:6] == ["copy", "independent", "holdout", "real hold-out", "harmonic", "harmonic_published"]
    assert order[6:8] == ["smote", "tvae"]
    assert order[-3:] == ["ctgan", "tabargn", "noisy_copy"]


def test_a_failure_and_a_hole():
    """Oracle: the rule: a seed that failed makes its scores failed, one without a score a hole; neither is averaged."""
    records = [record("smote", 0, mle_f1_weighted=0.5), record("smote", 1, error="no")]
    assert line(records, "smote").entries[MLE["corrected"]].text == "failed"
    assert line(records, "smote").entries[LLE["corrected"]].text == "–"  # which nobody was asked for
    assert [cost.text for cost in line(records, "smote").costs] == ["–", "–"]
    records[1] = record("smote", 1, lle_f1_weighted=0.5)
    assert line(records, "smote").entries[MLE["corrected"]].text == "–"


def test_regression_has_r2():
    """Oracle: by hand."""
    found = line([record("smote", dataset="abalone", mle_r2=0.4, lle_r2=0.3)], "smote", dataset="abalone")
    assert [entry.text for entry in found.entries] == ["–", "–", "0.400", "–", "–", "0.300"]


def test_the_hold_outs_own_scores():
    """Oracle: by hand: what it is asked for, and nothing of utility."""
    records = [record("smote", dcr_mean=1.0, dcr_holdout_mean=2.0, nrs=1.0)]
    entries = line(records, "real hold-out", PRIVACY).entries
    assert [entries[place].text for place in DCR.values()] == ["", "–", "2.000"]
    assert entries[DLT["corrected"]].text == ""
    assert "real hold-out" not in [found.method for found in lines(records)]


def test_the_best_and_the_second_are_marked_by_their_seeds():
    """Oracle: by hand: greater is better; differences of .1 that vary by .001."""
    spread = (0.0, 0.001, -0.001)
    records = [
        made
        for name, mean in (("smote", 0.8), ("tvae", 0.7), ("ctgan", 0.6), ("copy", 0.9))
        for made in of_seeds(
            name, "mle_f1_weighted", [mean + sign * part for sign, part in zip((1, 1, -1), spread, strict=True)]
        )
    ]
    records += of_seeds("independent", "mle_f1_weighted", [0.1, 0.101, 0.1])
    marked = {found.method: found.entries[MLE["corrected"]].mark for found in lines(records)}
    assert {name: mark for name, mark in marked.items() if mark} == {"smote": "best", "tvae": "second"}
    assert {found.method for found in lines(records[:6]) if found.entries[MLE["corrected"]].mark} == {"smote"}
    for dropped in range(3):
        fewer = [one for one in records if one.cell.seed != dropped]
        assert not any(found.entries[MLE["corrected"]].mark for found in lines(fewer))


def test_distances_are_best_at_the_hold_outs():
    """Oracle: by hand: farther than the hold-out is as bad as nearer; each seed against its own hold-out."""
    records = []
    for name, off in (("smote", -0.5), ("tvae", 0.1), ("ctgan", 0.9)):
        for seed in range(3):
            holdout = 1.0 + seed
            records.append(record(name, seed, dcr_mean=holdout + off * (1 + 0.01 * seed), dcr_holdout_mean=holdout))
    marked = {found.method: found.entries[DCR["corrected"]].mark for found in lines(records, PRIVACY)}
    assert {name: mark for name, mark in marked.items() if mark} == {"tvae": "best", "smote": "second"}


def test_around_the_ideal():
    """Oracle: by hand: seeds at -.02, .02 and -.003 have the mean -.001: nearer to 0 than .007, whichever way they lie."""
    records = of_seeds("smote", "dlt", [-0.02, 0.02, -0.003]) + of_seeds("tvae", "dlt", [0.007, 0.0071, 0.0069])
    assert not any(found.entries[DLT["corrected"]].mark for found in lines(records, PRIVACY))
    records = of_seeds("smote", "dlt", [-0.2, -0.21, -0.2]) + of_seeds("tvae", "dlt", [0.007, 0.0071, 0.0069])
    assert line(records, "tvae", PRIVACY).entries[DLT["corrected"]].mark == "best"


def test_perplexities_of_two_models_are_not_compared():
    """Oracle: the metric's own word."""
    records = of_seeds("great", "dlt_published_train_test", [-9.0] * 3)
    records += of_seeds("realtabformer", "dlt_published_train_test", [-1.0] * 3)
    assert not any(found.entries[DLT["train"]].mark for found in lines(records, PRIVACY))


@pytest.mark.parametrize(("ways", "mark"), [(("base", "base"), "best"), (("base", "llama"), "")])
def test_two_ways_of_measuring_are_not_compared(ways, mark):
    """Oracle: the rule: a score that one language model gave says nothing against one that another gave."""
    records = of_seeds("smote", "lle_f1_weighted", [0.8, 0.81, 0.8], config={"model": ways[0]})
    records += of_seeds("tvae", "lle_f1_weighted", [0.5, 0.51, 0.5], config={"model": ways[1]})
    assert line(records, "smote").entries[LLE["corrected"]].mark == mark


def test_other_numbers_of_rows_do_not_compete():
    """Oracle: the rule: fifty rows say nothing against as many as train; with the most methods, they are the rule."""
    records = of_seeds("smote", "mle_f1_weighted", [0.8, 0.81, 0.8]) + of_seeds("tvae", "mle_f1_weighted", [0.5, 0.51, 0.5])
    few = of_seeds("ctgan", "mle_f1_weighted", [0.9, 0.91, 0.9], n=50)
    marked = [(found.method, found.entries[MLE["corrected"]].mark) for found in lines(records + few)]
    assert [name for name, mark in marked if mark] == ["smote"]


def test_a_failed_method_is_nobodys_rival():
    """Oracle: the rule: what has no score cannot be better; what has one on some seeds can, and is not marked itself."""
    records = of_seeds("smote", "mle_f1_weighted", [0.8, 0.81, 0.8]) + of_seeds("tvae", "mle_f1_weighted", [0.5, 0.51, 0.5])
    failed = [record("ctgan", seed, error="no") for seed in (0, 1, 2)]
    assert line(records + failed, "smote").entries[MLE["corrected"]].mark == "best"
    worse = [*of_seeds("ctgan", "mle_f1_weighted", [0.6, 0.6]), failed[2]]
    assert line(records + worse, "smote").entries[MLE["corrected"]].mark == "best"
    better = [*of_seeds("ctgan", "mle_f1_weighted", [0.9, 0.9]), failed[2]]
    assert {one.entries[MLE["corrected"]].mark for one in lines(records + better)} == {""}
    most = [*of_seeds("ctgan", "mle_f1_weighted", [0.9, 0.91, 0.9]), record("ctgan", 3, error="no")]
    assert {one.entries[MLE["corrected"]].mark for one in lines(records + most)} == {""}
    assert line(records + worse, "ctgan").entries[MLE["corrected"]].text == "failed"
