"""Measurements as values; what of them Prometheus reads."""

import threading

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mcp_agent.observability.exposition import Exposition
from mcp_agent.observability.metrics import (
    LONGEST_LABEL,
    METRICS,
    MOST_SERIES,
    RUN_SECONDS,
    RUNS_STARTED,
    SESSIONS,
    Measurements,
    Metrics,
    check_record,
    labels_of,
    metric_name,
)


def samples(measured: Measurements) -> dict[str, list[tuple[dict[str, str], float]]]:
    _, page = Exposition(measured).page("")
    found: dict[str, list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(page.decode()):
        for sample in family.samples:
            found.setdefault(sample.name, []).append((sample.labels, sample.value))
    return found


@pytest.mark.promise("issue: bounded label cardinality")
def test_labels_that_somebody_makes_up_are_bounded():
    measured = Measurements()
    for number in range(MOST_SERIES + 50):
        measured.record("size", 1, {"id": number})
    found = {labels["id"]: value for labels, value in samples(measured)["size_count"]}
    assert len(found) == MOST_SERIES + 1
    assert found["other"] == 50


def test_a_histogram_counts_what_is_up_to_each_bound():
    measured = Measurements()
    for seconds in (0.005, 0.3, 7, 1_000_000):
        measured.observe(RUN_SECONDS, seconds, workflow="A", status="completed")
    found = samples(measured)
    buckets = {labels["le"]: value for labels, value in found["mcp_agent_run_duration_seconds_bucket"]}
    assert [buckets[bound] for bound in ("0.005", "0.25", "0.5", "10.0", "86400.0", "+Inf")] == [1, 1, 2, 3, 3, 4]
    assert found["mcp_agent_run_duration_seconds_sum"] == [({"workflow": "A", "status": "completed"}, 1_000_007.305)]


def test_a_gauge_is_read_when_somebody_looks():
    measured, open_sessions = Measurements(), [1]
    measured.read(SESSIONS, lambda: open_sessions[0], transport="sse")
    open_sessions[0] = 3
    assert samples(measured)["mcp_agent_sessions"] == [({"transport": "sse"}, 3)]


def test_counting_from_many_threads_loses_nothing():
    measured = Measurements()

    def count() -> None:
        for _ in range(2_000):
            measured.add(RUNS_STARTED, workflow="A")

    threads = [threading.Thread(target=count) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert samples(measured)["mcp_agent_runs_started_total"] == [({"workflow": "A"}, 8_000)]


def test_where_nobody_has_asked_nothing_is_kept():
    unmeasured = Metrics()
    unmeasured.add(RUNS_STARTED, workflow="A")
    assert not unmeasured.on


@pytest.mark.parametrize(("given", "name"), [("a.b-c", "a_b_c"), ("9lives", "_9lives"), ("größe", "gr__e")])
def test_names_of_user_code_become_ones_that_prometheus_knows(given: str, name: str):
    assert metric_name(given) == name


def test_labels_of_user_code_become_ones_that_prometheus_knows():
    assert labels_of({"b": True, "a.c": 1, "le": 2.5}) == (("_le", "2.5"), ("a_c", "1"), ("b", "True"))


@pytest.mark.parametrize(
    ("name", "value", "attributes", "told"),
    [
        ("", 1, {}, "`` cannot be recorded"),
        ("mcp_agent_runs_started_total", 1, {}, "begins with none of `mcp_agent_`, `temporal_`"),
        ("process_cpu_seconds", 1, {}, "begins with none of"),
        ("size", float("nan"), {}, "`size` cannot be `nan`: record a finite number"),
        ("size", "large", {}, "`size` cannot be `large`"),
        ("size", 1, {"kind": None}, "Attribute `kind` of `size` cannot be `None`"),
    ],
)
def test_what_would_spoil_the_page_is_refused(name: str, value: float, attributes: dict, told: str):
    with pytest.raises(ValueError, match=told):
        check_record(name, value, attributes)


def test_whatever_labels_user_code_gives_the_page_stays_readable():
    measured = Measurements()
    measured.record("größe", 1, {"": 1, "__name__": "x", "le": 2, "text": '"\n\\' * 500, "ok": True})
    ((labels, _), *_) = samples(measured)["gr__e_count"]
    assert (labels["_"], labels["_name__"], labels["_le"], labels["ok"]) == ("1", "x", "2", "True")
    assert len(labels["text"]) == LONGEST_LABEL


def test_the_names_of_this_package_s_metrics_follow_prometheus_conventions():
    for metric in METRICS:
        assert metric.name.endswith("_total") == (metric.kind == "counter"), metric.name
        assert metric.name.endswith("_seconds") or metric.kind != "histogram", metric.name
        assert not {"run_id", "id", "caller"} & set(metric.labels)
    assert len({metric.name for metric in METRICS}) == len(METRICS)
