"""Measurements of the hot paths against limits that are measured in the same run: only such ratios mean anything.

One module a path, each with `run(setting) -> Report`; jobs/bench.py prints them.
"""
