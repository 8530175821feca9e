"""Ray clusters on this machine alone, each node with a cache of its own."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


@contextlib.contextmanager
def cluster_of(nodes: int, place: Path) -> Iterator[Any]:
    """A head without cores and so many nodes of one; caches are below `place`. Nothing else may use Ray.

    `mine`: the nodes, each with what its cache is below.
    """
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'benchgraft[cluster]'")
    from ray.cluster_utils import Cluster

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of Ray's own: processes and sockets that it leaves to the system
        cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "include_dashboard": False})
        try:
            cluster.mine = [
                (add_node(cluster, place / f"node {n}"), place / f"node {n}") for n in range(nodes)
            ]
            yield cluster
        finally:
            ray.shutdown()
            cluster.shutdown()


def add_node(cluster: Any, place: Path) -> Any:
    """One more, of one core."""
    return cluster.add_node(num_cpus=1, env_vars={"XDG_CACHE_HOME": str(place)})
