"""How much memory this process holds, where the system tells."""

from pathlib import Path

_STATUS = Path("/proc/self/status")


def rss_is_known() -> bool:
    """Whether the system tells."""
    return _STATUS.exists()


def rss() -> int:
    """Bytes of this process in memory now; 0 where the system does not tell."""
    if not rss_is_known():
        return 0
    for line in _STATUS.read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    return 0
