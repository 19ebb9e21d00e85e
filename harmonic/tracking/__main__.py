"""What `apart.show` starts: does the job on the standard input, and prints why it failed if it did."""

import json
import sys
from contextlib import redirect_stdout
from pathlib import Path

from harmonic.build import build
from harmonic.record import loads
from harmonic.tracking.apart import one_line

job = json.load(sys.stdin)
reason = ""
with redirect_stdout(sys.stderr):
    try:
        synthetic = Path(job["synthetic"]) if job["synthetic"] else None
        build(job["tracker"]).send(loads(job["record"]), synthetic)
    except Exception as error:
        reason = one_line(error)
print(reason, flush=True)
