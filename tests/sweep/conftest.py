"""dask.distributed is an extra of the project: the tests that start a cluster are there where it is installed."""

from __future__ import annotations

from importlib.util import find_spec

collect_ignore = [] if find_spec("distributed") else ["test_sweep_dask.py"]
