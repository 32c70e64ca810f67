"""Settings of all tests: hypothesis has no deadlines, and an option runs only some cases of each test."""

from __future__ import annotations

import gc
from collections.abc import Generator, Iterator

import pytest
from hypothesis import HealthCheck, settings

FEW_EXAMPLES = 10
LONGEST = ("test_pages.py",)  # at the end, where pytest puts it, one worker would wait for the other
settings.register_profile("nablac", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("some cases", settings.get_profile("nablac"), max_examples=FEW_EXAMPLES)
settings.load_profile("nablac")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--some-cases",
        type=int,
        metavar="N",
        help=f"run at most N cases of each test, spread over its table, and {FEW_EXAMPLES} examples of a property",
    )


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("--some-cases"):
        settings.load_profile("some cases")


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Generator[None, object, object]:
    """Collect no garbage here, and later none of what this imports and collects, which lives until the end."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()


@pytest.fixture(autouse=True)
def processes_end_with_their_test() -> Iterator[None]:
    """A run of very many epochs, which a failed test no longer stops, would take a processor from all others."""
    from tests.command_line import end_processes

    yield
    end_processes()


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Begin with the longest, and let campaigns take their time.

    For runs that test versions and not values, keep some cases of what versions change.
    """
    items.sort(key=lambda item: item.path.name not in LONGEST)
    for item in items:
        if item.get_closest_marker("campaign") is not None:
            item.add_marker(pytest.mark.timeout(0))
    most = config.getoption("--some-cases")
    if not most:
        return
    tests: dict[str, list[pytest.Item]] = {}
    for item in items:
        if item.get_closest_marker("one_version") is None:
            tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = {case for cases in tests.values() for case in spread(cases, most)}
    config.hook.pytest_deselected(items=[item for item in items if item not in kept])
    items[:] = [item for item in items if item in kept]


def spread(cases: list[pytest.Item], most: int) -> list[pytest.Item]:
    """The first, the last and some between, so that the values of every parameter are likely among them."""
    if len(cases) <= most:
        return cases
    return [cases[number * (len(cases) - 1) // max(most - 1, 1)] for number in range(most)]
