"""Rows become a table and plain JSON; goals are judged in the right direction."""

import json

from mtcnn.bench.report import Report, Row, machine, machine_line


def test_goals_are_judged_in_their_direction() -> None:
    assert Row("a", "x/s", 1, 1, 0.9, goal=0.9).met is True
    assert Row("a", "x/s", 1, 1, 0.89, goal=0.9).met is False
    assert Row("a", "bytes", 1, 1, 1.04, goal=1.05, at_most=True).met is True
    assert Row("a", "bytes", 1, 1, 1.06, goal=1.05, at_most=True).met is False
    assert Row("a", "x/s", 1).met is None


def test_the_table_holds_every_row_and_lines_up() -> None:
    rows = [
        Row("reading", "crops/s", 123456.7, 200000.0, 0.617, 0.7, 0.05, 0.9, limit_is="members"),
        Row("b", "ms", 0.5),
    ]
    report = Report("shards", rows, ["a note"], [[["h1", "h2"], ["1", "2"]]])
    lines = report.lines()
    assert any("123,457" in line and "≥ 0.9 ✗" in line for line in lines)
    assert "a note" in lines
    heading = next(line for line in lines if "limit is" in line)
    assert next(line for line in lines if "members" in line).index("members") == heading.index("limit is")


def test_json_says_what_was_measured_where() -> None:
    where = machine()
    content = json.loads(json.dumps(Report("x", [Row("a", "u", 1.0)]).to_dict(where), allow_nan=False))
    assert content["rows"][0]["met"] is None
    assert content["machine"]["cores"] >= 1
    assert f"{where['cores']} cores" in machine_line(where)
