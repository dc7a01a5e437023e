"""Fuzzing: swarms of random small experiments under faults, judged by the checks while they run.

A seed makes a `plan`; a `trial` runs it, with faults first and then a time of peace in which everything must
converge; what breaks is made smaller (`shrink`) and kept (`capsule`). `swarm` does that for many seeds.
"""
