"""Rules of Jobs, CronJobs and DaemonSets."""

from typing import Any

import pytest

from fairway.engine.apiserver.resources import cronjobs, daemonsets, jobs

Object = dict[str, Any]


def job(restart: str = "Never", **spec: Any) -> Object:
    pod = {"restartPolicy": restart, "containers": [{"name": "main", "image": "x"}]}
    made = {"metadata": {"name": "sum", "uid": "u"}, "spec": {"template": {"spec": pod}, **spec}}
    jobs.default(made)
    jobs.prepare_create(made)
    return made


def codes(operator: str = "In", *values: int, action: str = "FailJob") -> Object:
    return {"rules": [{"action": action, "onExitCodes": {"operator": operator, "values": list(values)}}]}


INDEXED = {"completionMode": "Indexed", "completions": 3}


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ({}, []),
        ({"podFailurePolicy": codes("In", 1, 2)}, []),
        ({"podFailurePolicy": codes("In", 2, 1)}, ["spec.podFailurePolicy.rules[0].onExitCodes.values"]),
        ({"podFailurePolicy": codes("In", 0)}, ["spec.podFailurePolicy.rules[0].onExitCodes.values[0]"]),
        ({"podFailurePolicy": codes("In")}, ["spec.podFailurePolicy.rules[0].onExitCodes.values"]),
        ({"podFailurePolicy": codes("In", 1, action="FailIndex")}, ["spec.podFailurePolicy.rules[0].action"]),
        ({"podFailurePolicy": {"rules": [{"action": "Count"}]}}, ["spec.podFailurePolicy.rules[0]"]),
        ({"podFailurePolicy": codes("In", 1), "restart": "OnFailure"}, ["spec.template.spec.restartPolicy"]),
        ({"podReplacementPolicy": "Never"}, ["spec.podReplacementPolicy"]),
        ({"backoffLimitPerIndex": 1}, ["spec.backoffLimitPerIndex"]),
        ({**INDEXED, "backoffLimitPerIndex": 1, "maxFailedIndexes": 2}, []),
        ({**INDEXED, "maxFailedIndexes": 2}, ["spec.backoffLimitPerIndex"]),
        ({**INDEXED, "backoffLimitPerIndex": 1, "maxFailedIndexes": 4}, ["spec.maxFailedIndexes"]),
        ({"successPolicy": {"rules": [{"succeededCount": 1}]}}, ["spec.successPolicy"]),
        ({**INDEXED, "successPolicy": {"rules": []}}, ["spec.successPolicy.rules"]),
        ({**INDEXED, "successPolicy": {"rules": [{}]}}, ["spec.successPolicy.rules[0]"]),
        (
            {**INDEXED, "successPolicy": {"rules": [{"succeededCount": 4}]}},
            ["spec.successPolicy.rules[0].succeededCount"],
        ),
    ],
)
def test_policies_of_jobs(spec: Object, wanted: list[str]) -> None:
    assert [cause.field for cause in jobs.validate(job(**spec), None)] == wanted


@pytest.mark.parametrize(
    ("before", "after", "wanted"),
    [
        ({"completions": 3, "parallelism": 3}, {"completions": 4, "parallelism": 4}, []),
        ({"completions": 3, "parallelism": 3}, {"completions": 4, "parallelism": 3}, ["spec.completions"]),
        ({"completions": 3, "parallelism": 3}, {"completions": 3, "parallelism": 1}, []),
    ],
)
def test_elastic_jobs(before: Object, after: Object, wanted: list[str]) -> None:
    old, new = (job(**{**INDEXED, **spec}) for spec in (before, after))
    assert [cause.field for cause in jobs.validate(new, old)] == wanted


def test_defaults_of_jobs() -> None:
    assert job(**INDEXED, backoffLimitPerIndex=0)["spec"]["backoffLimit"] == 2**31 - 1
    assert job(podFailurePolicy=codes("In", 1))["spec"]["podReplacementPolicy"] == "Failed"


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ({"schedule": "@hourly", "timeZone": "Europe/Berlin"}, []),
        ({"schedule": "*/5 8-18 * * mon-fri"}, []),
        ({"schedule": "61 * * * *"}, ['Invalid value: "61 * * * *": end of range (61) above maximum (59): 61']),
        ({"schedule": "* * *"}, ['Invalid value: "* * *": expected exactly 5 fields, found 3: [* * *]']),
        (
            {"schedule": "TZ=UTC * * * * *"},
            ['Invalid value: "TZ=UTC * * * * *": cannot use TZ or CRON_TZ in schedule, use timeZone field instead'],
        ),
        ({"schedule": "@daily", "timeZone": "Mars/Base"}, ['Invalid value: "Mars/Base": unknown time zone Mars/Base']),
        ({"schedule": "@daily", "timeZone": ""}, ['Invalid value: "": timeZone must be nil or non-empty string']),
    ],
)
def test_schedules(spec: Object, says: list[str]) -> None:
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "x"}]}}
    made = {"metadata": {"name": "tick"}, "spec": {"jobTemplate": {"spec": {"template": template}}, **spec}}
    cronjobs.default(made)
    assert [cause.message for cause in cronjobs.validate(made, None)] == says


def test_generations_of_a_daemon_sets_template() -> None:
    def made(image: str, replicas: str = "a") -> Object:
        return {"metadata": {"annotations": {"x": replicas}}, "spec": {"template": {"image": image}}}

    first = made("one")
    daemonsets.prepare_create(first)
    key = "deprecated.daemonset.template.generation"
    assert first["metadata"]["annotations"][key] == "1"
    same, changed = made("one", "b"), made("two")
    daemonsets.prepare_update(same, first)
    daemonsets.prepare_update(changed, first)
    assert [item["metadata"]["annotations"][key] for item in (same, changed)] == ["1", "2"]
