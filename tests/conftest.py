"""Fixtures shared by all tests."""

import os
import re
import runpy
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"  # read once, when the hub's client is imported: no test reaches for the network
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import numpy as np
import pandas as pd
import pytest

from harmonic.table.schema import Column, Schema, attach


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """One thread for torch, where a test has loaded it: bitwise repetition does not hang on the machine."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
    yield


@pytest.fixture(scope="session")
def paper_data_dir() -> Path:
    """The folder of the paper's tables."""
    folder = os.environ.get("HARMONIC_DATA_DIR")
    if not folder:
        pytest.skip("HARMONIC_DATA_DIR is unset: set it to the folder that holds german/, adult/, diabetes/ and buddy/")
    return Path(folder)


@pytest.fixture
def mixed_frame() -> pd.DataFrame:
    """120 rows with a column of every kind and storage type, some with empty cells; target `label`, last."""
    n = 120
    rng = np.random.default_rng(0)
    holes = np.arange(n) % 10 == 3
    days = pd.Timestamp("2024-01-31") + pd.to_timedelta(rng.integers(0, 400, n), unit="D")
    return pd.DataFrame(
        {
            "amount": rng.integers(-500, 500, n) / 100,
            "count": rng.integers(0, 50, n),
            "visits": np.where(holes, np.nan, rng.integers(0, 9, n)),
            "grade": np.where(holes, None, rng.choice(["A", "B, or C", 'D "E"'], n)),
            "member": rng.random(n) < 0.5,
            "smoker": pd.Series(np.where(holes, None, rng.random(n) < 0.5), dtype=object),
            "day": days.strftime("%d.%m.%Y"),
            "moment": pd.Series(days + pd.to_timedelta(rng.integers(0, 86_400, n), unit="s")).where(~holes),
            "note": [f"note {i}" for i in range(n)],
            "label": np.where(np.arange(n) % 3 == 0, "yes", "no"),
        }
    )


@pytest.fixture
def mixed_table(mixed_frame: pd.DataFrame) -> pd.DataFrame:
    """The same without free text, as a table."""
    from harmonic.table import coerce
    from harmonic.table.infer import infer_schema

    frame = mixed_frame.drop(columns="note")
    return coerce(frame, infer_schema(frame, target="label"), "mixed")


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Callable[..., subprocess.CompletedProcess]:
    """`python scripts/<name> …` within this process, which has loaded what costs a new one seconds."""

    def call(name: str, *arguments: str) -> subprocess.CompletedProcess:
        path = str(Path(__file__).parent.parent / "scripts" / name)
        monkeypatch.setattr(sys, "argv", [path, *arguments])
        for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            monkeypatch.setenv(variable, "1")  # a script's own number of threads is gone with it
        capfd.readouterr()
        with pytest.raises(SystemExit) as end:
            runpy.run_path(path, run_name="__main__")
        return subprocess.CompletedProcess(sys.argv, end.value.code, *capfd.readouterr())

    return call


@pytest.fixture
def one_sentence() -> Callable[[object, str], None]:
    """Asserts that an error's message is one sentence in one line and holds some words."""

    def check(error: object, *words: str) -> None:
        message = str(error)
        assert "\n" not in message
        assert message.endswith(".")
        assert not re.search(r"\. [A-Z]", message), message
        for word in words:
            assert word in message, f"{word!r} is not in: {message}"

    return check


@pytest.fixture(scope="session")
def easy_schema() -> Schema:
    """Every kind of column, and values that a model of a few thousand weights learns to write; target in the middle."""
    return Schema(
        (
            Column("size", "integer", "int64", low=0, high=99),
            Column("rate", "decimal", "float64", places=1, low=0.0, high=99.9, nullable=True),
            Column("label", "category", "str", categories=("no", "yes")),
            Column("member", "boolean", "bool", categories=("False", "True")),
            Column("day", "datetime", "str", datetime_format="%Y-%m-%d", low=1.6e9, high=1.8e9),
            Column("note", "text", "str", nullable=True),
        ),
        target="label",
        task="binary",
        description="clients",
    )


@pytest.fixture(scope="session")
def easy_table(easy_schema: Schema) -> pd.DataFrame:
    """40 rows of `easy_schema`, no two of them alike."""
    n = 40
    rng = np.random.default_rng(0)
    rows: dict[str, Any] = {
        "size": np.arange(n) + 10,
        "rate": np.where(np.arange(n) % 8 == 3, np.nan, rng.integers(1, 9, n) / 2),
        "label": np.where(np.arange(n) % 2, "yes", "no"),
        "member": rng.random(n) < 0.5,
        "day": rng.choice(["2024-01-31", "2023-02-28"], n),
        "note": np.where(np.arange(n) % 5 == 1, None, "n"),
    }
    return attach(pd.DataFrame(rows), easy_schema)


@pytest.fixture(scope="session")
def tiny_model() -> Callable[..., Any]:
    """Makes a causal LM of two layers with random weights: `tiny_model("gpt2", 300, dropout=0.1)`."""
    import torch
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig, Qwen3Config

    def build(name: str, vocab_size: int, dropout: float = 0.0, seed: int = 0) -> Any:
        sizes: dict[str, Any] = {
            "vocab_size": vocab_size,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 2,
            "num_key_value_heads": 1,
            "max_position_embeddings": 1024,
            "pad_token_id": 0,
        }
        config = {
            "llama": lambda: LlamaConfig(**sizes, attention_dropout=dropout),
            "qwen3": lambda: Qwen3Config(**sizes, head_dim=16, attention_dropout=dropout),
            "gpt2": lambda: GPT2Config(
                vocab_size=vocab_size,
                n_embd=32,
                n_layer=2,
                n_head=2,
                n_positions=1024,
                resid_pdrop=dropout,
                embd_pdrop=dropout,
                attn_pdrop=dropout,
            ),
        }[name]()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return AutoModelForCausalLM.from_config(config).eval()

    return build


@pytest.fixture(scope="session")
def easy_codec(easy_schema: Schema) -> Any:
    """Canonical rows of `easy_schema`."""
    from harmonic.codec import RowCodec

    return RowCodec(easy_schema)


@pytest.fixture(scope="session")
def easy_encoder(easy_codec: Any, easy_table: pd.DataFrame) -> Any:
    """The scratch tokenizer of `easy_table`, for instructions of two examples."""
    from harmonic.codec import frequent_segments
    from harmonic.lm.load import table_tokenizer
    from harmonic.lm.segments import SegmentEncoder

    values = (text for row in easy_codec.cells(easy_table) for text in row)
    return SegmentEncoder(table_tokenizer(values, frequent_segments(easy_codec, 2), 300))


@pytest.fixture(scope="session")
def easy_instructions(easy_codec: Any, easy_table: pd.DataFrame) -> list[Any]:
    """38 instructions of two examples each: the rows above a row."""
    from harmonic.codec import Instruction, instruction, wrap

    rows = [easy_codec.row(cells) for cells in easy_codec.cells(easy_table)]
    prompts = [wrap(instruction(easy_codec.schema, rows[place - 2 : place])) for place in range(2, len(rows))]
    return [Instruction(prompt, row) for prompt, row in zip(prompts, rows[2:], strict=True)]


@pytest.fixture(scope="session")
def quick_harmonic() -> Callable[..., Any]:
    """Makes a HARMONIC that learns `easy_table` in seconds: two examples, two layers; other settings on request."""
    from harmonic.lm.batches import Training
    from harmonic.lm.decoding import Decoding
    from harmonic.lm.load import Scratch
    from harmonic.method import Harmonic
    from harmonic.method.sampling import Sampling
    from harmonic.training import Compute

    def build(steps: int = 220, model: Any = None, compute: Any = None, **settings: Any) -> Harmonic:
        training = Training("all", min_steps=steps, batch_size=8, learning_rate=5e-3, warmup=0.05, max_length=1024)
        scratch = Scratch(64, 2, 2, 128, vocab_size=300, max_length=1024, training=training)
        sampling = Sampling("neighbours", decoding=Decoding(temperature=0.7))
        chosen = {"k": 2, "sampling": sampling, "examples": "neighbours", **settings}
        return Harmonic(model or scratch, compute=compute or Compute("cpu", "32-true"), **chosen)

    return build


@pytest.fixture(scope="session")
def learnt(quick_harmonic: Callable[..., Any], easy_table: pd.DataFrame) -> Any:
    """A HARMONIC that has learnt `easy_table`; tests may sample from it, and must not fit it."""
    return quick_harmonic().fit(easy_table, seed=0)
