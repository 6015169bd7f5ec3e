"""The hardware and versions that a figure belongs to."""

from __future__ import annotations

import datetime
import os
import platform
from pathlib import Path

import torch


def memory_bytes(figure: str) -> int:
    """A figure of this process's memory, such as VmHWM, its peak (what getrusage says of that includes the parent's)."""
    lines = Path("/proc/self/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f"{figure}:"))


def describe_machine() -> dict[str, str]:
    """Processor, its vector instructions as torch uses them, whether it computes bf16, cores, GPU, versions and date (UTC)."""
    from amtl.training.loop import computes_bf16

    info = Path("/proc/cpuinfo")
    models = (
        [line.split(":")[1].strip() for line in info.read_text().splitlines() if line.startswith("model name")] if info.exists() else []
    )
    return {
        "processor": models[0] if models else platform.processor(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "bf16": "yes" if computes_bf16(torch.device("cpu")) else "no",
        "cores": str(os.cpu_count()),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else "none",
        "python": platform.python_version(),
        "torch": torch.__version__,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
    }
