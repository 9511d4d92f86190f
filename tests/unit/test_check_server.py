"""Each check of a server judges what INFO and CONFIG tell, and says what to do."""

from __future__ import annotations

import pytest

from toril.cli.check.server import CHECKS, Facts

WELL = Facts(
    info={
        "redis_version": "7.2.4",
        "valkey_version": "9.1.2",
        "role": "master",
        "cluster_enabled": "0",
        "connected_clients": "12",
        "aof_enabled": "1",
    },
    config={
        "maxmemory-policy": "noeviction",
        "maxclients": "10000",
        "timeout": "0",
        "appendfsync": "everysec",
    },
    offset_s=0.02,
    versions={"images": "bullmq:5.81.2", "mail": "toril:0.1.0", "new": ""},
)


def judged(name, *, info=None, config=None, **further):
    facts = Facts(
        WELL.info | (info or {}),
        WELL.config | (config or {}),
        further.get("offset_s", WELL.offset_s),
        further.get("versions", WELL.versions),
    )
    (check,) = [one for one in CHECKS if one.name == name]
    return check.judge(facts)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_good_server_passes_every_check(check):
    assert check.judge(WELL).status == "ok"


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.name)
def test_a_server_that_tells_nothing_is_unknown_not_wrong(check):
    assert check.judge(Facts({})).status == ("ok" if check.name == "writers" else "unknown")


@pytest.mark.parametrize(
    ("name", "given", "status", "word"),
    [
        ("version", {"info": {"valkey_version": "7.1.9"}}, "error", "7.2"),
        ("eviction", {"config": {"maxmemory-policy": "allkeys-lru"}}, "error", "noeviction"),
        (
            "eviction",
            {"config": {"maxmemory-policy": "allkeys-lru", "maxmemory": "0"}},
            "warning",
            "noeviction",
        ),
        ("persistence", {"info": {"aof_enabled": "0"}}, "warning", "appendonly yes"),
        (
            "persistence",
            {"info": {"aof_enabled": "0"}, "config": {"save": ""}},
            "warning",
            "loses every job",
        ),
        ("persistence", {"config": {"appendfsync": "no"}}, "warning", "everysec"),
        ("role", {"info": {"role": "slave"}}, "error", "primary"),
        ("cluster", {"info": {"cluster_enabled": "1"}}, "error", "alone"),
        ("clients", {"config": {"maxclients": "13"}}, "warning", "maxclients"),
        ("idle connections", {"config": {"timeout": "60"}}, "warning", "timeout 0"),
        ("clock", {"offset_s": -3.0}, "warning", "time service"),
        ("writers", {"versions": {"old": "bullmq:4.12.0"}}, "warning", "BullMQ 5 or 6"),
        ("writers", {"versions": {"odd": "something"}}, "warning", "BullMQ 5 or 6"),
    ],
)
def test_a_fault_is_judged_and_has_a_remedy(name, given, status, word):
    judgement = judged(name, **given)
    assert judgement.status == status
    assert word in judgement.remedy


def test_an_old_redis_is_told_by_its_own_version():
    (version,) = [check for check in CHECKS if check.name == "version"]
    assert version.judge(Facts({"redis_version": "6.2.14"})).status == "error"
    assert version.judge(Facts({"redis_version": "7.0.15"})).status == "ok"


def test_info_speaks_where_config_is_forbidden():
    facts = Facts({"maxmemory_policy": "volatile-lru", "maxmemory": "1024", "aof_enabled": "1"})
    found = {check.name: check.judge(facts) for check in CHECKS}
    assert found["eviction"].status == "error"
    assert found["persistence"].status == "ok"
    assert found["idle connections"].status == "unknown"
