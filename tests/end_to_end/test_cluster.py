"""A search over a Ray cluster of two nodes, one of which is taken away."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray.cluster_utils import Cluster

from results import read_record
from tests.support.cli import LIMIT_S, TINY, events, start, wait_for


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cluster]:
    """A head and a second node, each with one CPU."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # nodes of one machine, reached through its own addresses
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    try:
        yield cluster
    finally:
        cluster.shutdown()


@pytest.mark.slow
def test_a_trial_whose_node_is_taken_away_goes_on_on_another(cluster: Cluster, tmp_path: Path) -> None:
    second = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    folder = tmp_path / "runs" / "spread"
    flags = ("--concurrency=2", "--name=spread", "--quiet", f"--address={cluster.address}")

    def reporting() -> set[int]:
        return {event["trial"] for event in events(folder) if event["event"] == "report"}

    with start("search.run", *TINY, *flags, cwd=tmp_path) as driver:
        wait_for(driver, lambda: len(reporting()) >= 2)
        cluster.remove_node(second, allow_graceful=False)
        _, errors = driver.communicate(timeout=LIMIT_S)
    assert driver.returncode == 0, errors
    state = read_record(folder)
    assert sorted(state.trials) == [0, 1, 2, 3]
    assert {trial.status for trial in state.trials.values()} <= {"completed", "stopped"}
    assert [e["reason"] for e in events(folder) if e["event"] == "retried"] == ["lost"]
    for reports in state.reports.values():
        assert [report.epoch for report in reports] == list(range(1, len(reports) + 1))
