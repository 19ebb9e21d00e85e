"""Records as the report's tests need them."""

from harmonic.record import Cell, Record


def record(
    method,
    seed=0,
    *,
    model="none",
    dataset="german",
    target="",
    error=None,
    stage="fit",
    n=None,
    schema=(),
    config=None,
    **values,
):
    """A cell's record: values are the scores of one metric, `config` what the metric was built of."""
    cell = Cell(dataset, method, model, seed, f"{method}{model}{seed}{n}{dataset}".encode().hex())
    return Record(
        cell,
        "failed" if error else "done",
        error={"stage": stage, "type": "BadInput", "message": error} if error else None,
        scores={"all": {"values": values, "config": config, "key": "k", "time_s": 0.1}} if values else {},
        costs={"time_fit_s": 1.0, "time_sample_s": 2.0},
        data={"schema": {"columns": [{"name": name} for name in schema], "task": "binary"}},
        config={"n_samples": n, "method": {"_target_": target} if target else {}},
        env={"commit": "abc", "device": "Abacus"},
    )
