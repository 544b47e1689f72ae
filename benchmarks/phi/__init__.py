"""The test bench for leaks: identifiers are planted with an answer key, the job runs, what left is searched and scored.

Run as `python -m benchmarks phi` or `make phi-bench`. The key is made at planting, before anything runs.
"""
