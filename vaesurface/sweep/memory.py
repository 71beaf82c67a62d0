"""How much memory may the workers on this machine have?

>>> available() > 0
True
"""

from pathlib import Path

import psutil

__all__ = ["available"]

# Limits of the control group, of either version, and what it uses.
GROUPS = (
    ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory.current"),
    ("/sys/fs/cgroup/memory/memory.limit_in_bytes", "/sys/fs/cgroup/memory/memory.usage_in_bytes"),
)


def available() -> int:
    """Bytes that are free, of the machine's or of what the control group allows."""
    free = [psutil.virtual_memory().available]
    for limit, used in GROUPS:
        try:
            free.append(int(Path(limit).read_text()) - int(Path(used).read_text()))
        except (OSError, ValueError):  # another version, or "max"
            continue
    return max(0, min(free))
