"""Settings of all tests: hypothesis has no deadlines, and an option runs only some cases of each test."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

SOME = 4
settings.register_profile("nablac", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("nablac")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--some-cases",
        action="store_true",
        help=f"run at most {SOME} cases of each test, spread over its table",
    )


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Skip most cases of long tables, for runs that test versions of libraries and not values."""
    if not config.getoption("--some-cases"):
        return
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {case for cases in tests.values() for case in spread(cases)}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def spread(cases: list[pytest.Item]) -> list[pytest.Item]:
    """The first, the last and some between, so that the values of every parameter are likely among them."""
    if len(cases) <= SOME:
        return cases
    return [cases[number * (len(cases) - 1) // (SOME - 1)] for number in range(SOME)]
