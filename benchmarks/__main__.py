"""`make bench`: what needs no data but the bundled sample, and the page."""

from __future__ import annotations

import subprocess
import sys

from benchmarks import table

for name in ("step", "pipeline"):
    subprocess.run([sys.executable, "-m", f"benchmarks.{name}", "--out", str(table.RESULTS / f"{name}-cpu.json")], check=True)
table.main()
