"""Measurements: the whole job against what a user would write today, the cost per series, the speed of single steps.

Run as `python -m benchmarks`. They print ratios measured in one run, and are no tests.
"""
