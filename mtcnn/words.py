"""Numbers as people say them: counts, times, sizes."""


def count(value: float | None) -> str:
    """1234.5 → 1,234; a dash where there is nothing."""
    return "–" if value is None else f"{value:,.0f}"


def about(value: float) -> str:
    """1234.5 → ~1,200: two digits, where more would claim to know."""
    return f"~{float(f'{value:.1e}'):,.0f}"


def duration(seconds: float) -> str:
    """Seconds as 8.2 s, 3 min 05 s, 2 h 10 min."""
    if seconds < 59.95:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"


def size(value: float) -> str:
    """Bytes in three digits: 12.3 kB, 1.25 GB, 640 GB."""
    for unit in ("kB", "MB", "GB"):
        value /= 1000
        if value < 1000:
            return f"{value:.3g} {unit}"
    return f"{value / 1000:.3g} TB"
