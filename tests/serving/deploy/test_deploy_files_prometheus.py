# SPDX-License-Identifier: Apache-2.0
"""The alerts and the autoscaler's metric ask for what TF Serving exports, in the form that their readers want."""

import copy
import re
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict, ValidationError

from tests.serving.deploy.deploy_files import load, parse_models, read

# What TF Serving exports, with labels: util.cc, batching_session.cc. A histogram has three series.
LABELS = {
    ":tensorflow:serving:request_count": {"model_name", "status"},
    ":tensorflow:serving:request_latency": {"model_name", "API", "entrypoint", "le"},
    ":tensorflow:serving:batching_session:queuing_latency": {"thread_pool_name", "le"},
    ":tensorflow:serving:batching_session:wrapped_run_count": set(),
}
HISTOGRAMS = {name for name, labels in LABELS.items() if "le" in labels}
SERIES = {f"{name}{part}" for name in HISTOGRAMS for part in ("_bucket", "_sum", "_count")} | (set(LABELS) - HISTOGRAMS)


class Strict(BaseModel):
    """Refuses fields that it does not know."""

    model_config = ConfigDict(extra="forbid")


class Alert(Strict):
    """An alerting rule."""

    alert: str
    expr: str
    # Held as text, since `for` is a word of Python.
    for_: str
    labels: dict[str, str]
    annotations: dict[str, str]


class Group(Strict):
    """Rules that are evaluated together."""

    name: str
    rules: list[Alert]


class Rules(Strict):
    """A rule file of Prometheus."""

    groups: list[Group]


class Resource(Strict):
    """The Kubernetes resource that a label names."""

    resource: str


class Overrides(Strict):
    """Labels of series and what they name."""

    overrides: dict[str, Resource]


class Name(Strict):
    """The name under which a metric is offered."""

    as_: str


class Custom(Strict):
    """A rule of prometheus-adapter."""

    seriesQuery: str
    resources: Overrides
    name: Name
    metricsQuery: str


def without_keywords(content: Any) -> Any:
    """The content with the keys that Python cannot use as names followed by an underscore."""
    if isinstance(content, dict):
        return {f"{key}_" if key in {"for", "as"} else key: without_keywords(value) for key, value in content.items()}
    return [without_keywords(value) for value in content] if isinstance(content, list) else content


def rules() -> Any:
    return without_keywords(load("prometheus-rules.yaml"))


def custom() -> Any:
    content = load("prometheus-adapter.yaml")
    assert set(content) == {"rules"}
    assert set(content["rules"]) == {"custom"}
    (rule,) = without_keywords(content["rules"]["custom"])
    return rule


def series_of(query: str) -> list[tuple[str, set[str]]]:
    """The series that PromQL names, each with the labels that it selects by."""
    found = re.findall(r"(:tensorflow:[\w:]+)(?:\{(.*?)\})?", query)
    return [(name, set(re.findall(r"(\w+)(?:=|!=|=~|!~)\"", selectors))) for name, selectors in found]


def check_query(query: str) -> None:
    """Names and labels are TF Serving's, and brackets are closed."""
    for opening, closing in ("()", "{}", "[]"):
        assert query.count(opening) == query.count(closing)
    named = series_of(query)
    assert named
    for name, labels in named:
        assert name in SERIES
        histogram = re.sub("_(bucket|sum|count)$", "", name)
        assert labels <= LABELS[histogram if histogram in HISTOGRAMS else name]


def test_alerts_ask_for_what_tf_serving_counts() -> None:
    (group,) = Rules.model_validate(rules()).groups
    assert [alert.alert for alert in group.rules] == ["RankerGone", "RankerErrors", "RankerSlow"]
    for alert in group.rules:
        check_query(alert.expr)
        assert re.fullmatch(r"\d+m", alert.for_)
        assert f'model_name="{parse_models(read("models.config")).name}"' in alert.expr
        assert alert.annotations["summary"]


def test_a_misspelt_field_is_found() -> None:
    wrong = copy.deepcopy(rules())
    wrong["groups"][0]["rules"][0]["expression"] = wrong["groups"][0]["rules"][0].pop("expr")
    with pytest.raises(ValidationError, match="expression"):
        Rules.model_validate(wrong)
    with pytest.raises(AssertionError):
        check_query('rate(:tensorflow:serving:request_latencies_sum{model_name="ranker"}[5m])')
    with pytest.raises(AssertionError):
        check_query('rate(:tensorflow:serving:request_count{version="2"}[5m])')


def test_the_adapter_makes_milliseconds_of_a_pods_mean() -> None:
    rule = Custom.model_validate(custom())
    overrides = rule.resources.overrides
    assert {label: overrides[label].resource for label in overrides} == {"namespace": "namespace", "pod": "pod"}
    assert f'"{series_of(rule.metricsQuery)[0][0]}"' in rule.seriesQuery
    filled = rule.metricsQuery.replace("<<.GroupBy>>", "pod").replace("<<.LabelMatchers>>,", "")
    assert "<<" not in filled
    check_query(filled)
    total, count = series_of(filled)
    assert total[0].removesuffix("_sum") == count[0].removesuffix("_count")
    assert total[1] == count[1] == {"API"}
    assert rule.metricsQuery.rstrip().endswith("/ 1000")
