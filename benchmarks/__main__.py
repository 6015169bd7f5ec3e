"""`make bench`: the step and the pipeline, and the page. The other scripts take minutes to hours."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import table

for name in ("step", "pipeline"):
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--out", str(table.RESULTS / f"{name}-cpu.json")], check=True)
table.main()
