"""What a run takes from its machine."""

from pathlib import Path

import psutil

MEGABYTE = 1e6


def system_metrics(folder: Path = Path()) -> dict[str, float]:
    """Load of this machine now, under the names that MLflow shows in its "System metrics" tab.

    Percentages in [0, 100], sizes in megabytes (1e6 bytes). The CPU figure is the mean since the call
    before, 0.0 the first time; the disk figures are those of the disk that holds `folder`.
    """
    memory = psutil.virtual_memory()
    disk = psutil.disk_usage(str(folder))
    return {
        "system/cpu_utilization_percentage": psutil.cpu_percent(),
        "system/system_memory_usage_megabytes": memory.used / MEGABYTE,
        "system/system_memory_usage_percentage": memory.percent,
        "system/process_memory_megabytes": psutil.Process().memory_info().rss / MEGABYTE,
        "system/disk_usage_megabytes": disk.used / MEGABYTE,
        "system/disk_usage_percentage": disk.percent,
        "system/disk_available_megabytes": disk.free / MEGABYTE,
    }
