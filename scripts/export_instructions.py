"""Write HARMONIC's instructions as JSON lines, in the form of the published data.

    python scripts/export_instructions.py dataset=german out=german.jsonl [method=harmonic] [what=training|sampling] [seed=0]

Each line is {"id", "conversations": [{"from": "human", "value"}, {"from": "assistant", "value"}]}; a prompt's answer
is empty. Under prompts=generated the sampling prompts are those of the rows that are written first. The method defaults to
harmonic_published; any YAML of conf/method that builds a Harmonic will do.
"""

import json
import sys
from pathlib import Path

import yaml

from harmonic.arguments import read_arguments
from harmonic.datasets import load_dataset
from harmonic.errors import BadInput, check_name
from harmonic.method import Harmonic
from harmonic.method.sampling import Sampling

DEFAULTS = {"dataset": "", "out": "", "method": "harmonic_published", "what": "training", "seed": 0}
FIT_OPTIONS = ("k", "examples", "pool", "distance", "label_rule", "min_agreement", "order", "row_style", "max_instructions")


def main(arguments: list[str]) -> int:
    """Write the file; a wrong argument or data set is one line and exit status 1."""
    try:
        options = read_arguments(arguments, DEFAULTS, ["dataset", "out"])
        lines = export(options["dataset"], options["method"], options["what"], options["seed"])
        Path(options["out"]).write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines))
    except (BadInput, OSError) as error:
        print(f"export_instructions.py: {error}", file=sys.stderr)
        return 1
    print(f"{options['out']}: {len(lines)} instructions")
    return 0


def export(dataset: str, method: str, what: str, seed: int) -> list[dict[str, object]]:
    """The lines for one data set; raises BadInput for a name there is not."""
    check_name("method", method)
    file = Path(__file__).parent.parent / "conf" / "method" / f"{method}.yaml"
    if not file.is_file():
        raise BadInput(f"method must name a YAML of conf/method, but there is no {method}.yaml there.")
    config = yaml.safe_load(file.read_text())
    if config.get("_target_") != "harmonic.method.Harmonic" or what not in ("training", "sampling"):
        raise BadInput(f"method must build a Harmonic and what be training or sampling; found {method} and {what}.")
    sampling = Sampling(prompts=config["sampling"]["prompts"])
    harmonic = Harmonic(sampling=sampling, **{name: config[name] for name in FIT_OPTIONS})
    train = load_dataset(dataset, seed=seed).train
    harmonic.prepare(train, seed)
    if what == "training":
        pairs = [("".join(item.prompt), "".join(item.answer)) for item in harmonic.instructions.of_epoch(seed)]
    else:
        pairs = [("".join(prompt), "") for prompt in harmonic.sampling_prompts(len(train), seed)]
    return [
        {"id": str(number), "conversations": [{"from": "human", "value": human}, {"from": "assistant", "value": answer}]}
        for number, (human, answer) in enumerate(pairs, start=1)
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
