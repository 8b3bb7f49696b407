"""Memory of `melanoma audit` at its peak, all its processes together.

    python benchmarks/audit_memory.py DATA...

Memory that processes share is counted once (PSS), so this needs Linux.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil


def main() -> None:
    """Run the audit and look at it twice a second."""
    began, peak = time.monotonic(), 0
    with tempfile.TemporaryDirectory() as folder:
        audit = psutil.Popen(
            [Path(sys.executable).with_name("melanoma"), "audit", *sys.argv[1:], "-o", folder],
            stdout=subprocess.DEVNULL,
        )
        while audit.poll() is None:
            peak = max(peak, sum(read_memory(one) for one in [audit, *audit.children(recursive=True)]))
            time.sleep(0.5)
    print(f"exit code {audit.returncode}, {time.monotonic() - began:.0f} s, at most {peak / 1e6:,.0f} MB")


def read_memory(process: psutil.Process) -> int:
    """Bytes; 0 for a process that has ended."""
    try:
        return int(process.memory_full_info().pss)
    except psutil.Error:
        return 0


if __name__ == "__main__":
    main()
