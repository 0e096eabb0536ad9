"""Scaling: the rate of all actors at work, empty units through a real pool, and the arithmetic of the estimate."""

from types import SimpleNamespace

import pytest

from mtcnn.bench import scaling
from mtcnn.bench.data import Setting
from mtcnn.bench.estimate import StageRates, needs
from mtcnn.bench.report import Report
from mtcnn.cluster.timed import Span


def span(actor: int, begin: float, end: float, images: int = 10) -> Span:
    return Span(actor, begin, end, SimpleNamespace(stats={"images": images}))


def test_the_rate_is_that_of_the_time_in_which_all_actors_work() -> None:
    # Actor 2 starts 4 s later, actor 1 stops 2 s earlier; between 4 and 8 s each does 10 images in 2 s.
    spans = [span(1, t, t + 2) for t in (0, 2, 4, 6)] + [span(2, t, t + 2) for t in (4, 6, 8)]
    assert scaling.steady_rate(spans) == pytest.approx(10.0)
    assert scaling.steady_rate(spans[:4]) == pytest.approx(5.0)


def test_the_estimate_counts_units_shards_and_requests() -> None:
    rates = StageRates("rnet", 100.0, 10_000.0, 50.0, 5.0, 90_000.0, 3, 100_000.0)
    row = needs(rates, 64_000)
    units = 1000
    requests = units * (3 + 3) + 4  # and four pages of a listing
    assert row[:4] == ["rnet", f"{units:,}", f"{3 * units:,}", f"{requests:,}"]
    assert row[4] == "6.4 GB"
    assert row[5] == f"{64_000 * 50:,}"
    assert row[6] == "5.76 GB"
    assert float(row[7]) == pytest.approx(64_000 / 100 / 3600, rel=0.01)


@pytest.mark.ray
@pytest.mark.slow
def test_actors_and_empty_units_are_measured(tiny: Setting, ray_cluster: None) -> None:
    report = scaling.run(tiny)
    found = [row.name for row in report.rows]
    assert found[0] == "1 actor"
    assert "1,000 empty units" in " ".join(found)
    assert "driver time for a unit" in found
    table = report.tables[0]
    assert [row[0] for row in table] == ["images", *["10 M"] * 3, *["1 B"] * 3]
    assert isinstance(report, Report)
