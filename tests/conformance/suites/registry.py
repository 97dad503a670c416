"""The suites: where each comes from, how it is cut into parts, what each part is run on."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.conformance.suites import sources
from tests.conformance.suites.java_suite import SOURCE, JavaSuite
from tests.conformance.suites.librdkafka_suite import LibrdkafkaSuite
from tests.conformance.suites.outcome import Outcome
from tests.conformance.suites.pytest_suite import PytestSuite

# How a server is set up beside the defaults, by Kafka's names.
SCENARIOS: dict[str, dict[str, str]] = {
    "default": {},
    "noautocreate": {"auto.create.topics.enable": "false"},
    "two-partitions": {"num.partitions": "2"},
}
PYTEST = ("pytest>=9,<10", "pytest-timeout>=2.3,<3")

# Those whose tests get a broker; the others are unit tests.
AIOKAFKA_FILES = tuple(
    f"tests/test_{name}.py"
    for name in (
        *("admin", "client", "conn", "consumer", "coordinator", "helpers", "pep492"),
        *("producer", "sasl", "sender", "transactional_consumer", "transactional_producer"),
    )
)


@dataclass(frozen=True, slots=True)
class Part:
    """What one process runs; `run(tests, bootstrap, log)`."""

    name: str
    scenario: str
    tests: tuple[str, ...]
    run: Callable[[Sequence[str], str, Path], list[Outcome]]


@dataclass(frozen=True, slots=True)
class Suite:
    """All tests of a suite by name, in its order, and how some of them become parts."""

    tests: tuple[str, ...]
    parts: Callable[[Sequence[str]], list[Part]]


def kafka_python(build: Path) -> Suite:
    root = sources.sdist(build, "kafka-python", sources.KAFKA_PYTHON)
    needed = (f"kafka-python=={sources.KAFKA_PYTHON}", "pytest-mock", "py", "crc32c", "lz4")
    python = sources.virtual_environment(
        build, "kafka-python", (*needed, "python-snappy", "zstandard", *PYTEST)
    )
    return _pytest(
        PytestSuite(
            root,
            python,
            "conformance_kafka_python",
            ("test/integration",),
            environment={"CONFORMANCE_KAFKA_VERSION": sources.KAFKA},
        )
    )


def aiokafka(build: Path) -> Suite:
    root = _checkout("aiokafka", "CONFORMANCE_AIOKAFKA", "tests/_testutil.py")
    needed = (f"aiokafka=={sources.AIOKAFKA}", "cramjam", "docker")
    python = sources.virtual_environment(
        build, "aiokafka", (*needed, "pytest-asyncio>=1.3,<2", "pytest-mock", *PYTEST)
    )
    return _pytest(
        PytestSuite(
            _without_package(build, root, "aiokafka"),
            python,
            "conformance_aiokafka",
            AIOKAFKA_FILES,
            (
                *(f"--docker-image=conformance:2.13_{sources.KAFKA}", "--no-pull"),
                *("-o", "asyncio_default_fixture_loop_scope=function"),
            ),
        ),
        scenario="two-partitions",
    )


def confluent_kafka(build: Path) -> Suite:
    root = _checkout("confluent-kafka", "CONFORMANCE_CONFLUENT_KAFKA", "tests/integration")
    needed = (f"confluent-kafka[schemaregistry,avro,json,protobuf]=={sources.CONFLUENT_KAFKA}",)
    python = sources.virtual_environment(
        build, "confluent-kafka", (*needed, "trivup", "pytest-asyncio>=1.3,<2", *PYTEST)
    )
    return _pytest(
        PytestSuite(
            _without_package(build, root, "confluent_kafka"),
            python,
            "conformance_confluent_kafka",
            ("tests/integration",),
        )
    )


def librdkafka(build: Path) -> Suite:
    suite = LibrdkafkaSuite(sources.librdkafka(build), sources.KAFKA, sources.kafka(build))
    scenarios = {test.name: test.scenario for test in suite.listed()}

    def parts(tests: Sequence[str]) -> list[Part]:
        ordered = sorted(tests, key=lambda name: (scenarios[name], name[:4]))
        made = []
        for (scenario, number), names in groupby(
            ordered, key=lambda name: (scenarios[name], name[:4])
        ):

            def run(
                chosen: Sequence[str], bootstrap: str, log: Path, scenario: str = scenario
            ) -> list[Outcome]:
                return suite.run(chosen, bootstrap, log, scenario)

            made.append(Part(f"{number}-{scenario}", scenario, tuple(names), run))
        return made

    return Suite(tuple(scenarios), parts)


def java(build: Path) -> Suite:
    libs = sources.kafka(build) / "libs"
    suite = JavaSuite(libs, sources.java_classes(build, SOURCE))

    def parts(tests: Sequence[str]) -> list[Part]:
        families = groupby(tests, key=lambda name: name.partition("_")[0])
        return [Part(family, "default", tuple(names), suite.run) for family, names in families]

    return Suite(tuple(suite.collect()), parts)


SUITES: dict[str, Callable[[Path], Suite]] = {
    "kafka-python": kafka_python,
    "aiokafka": aiokafka,
    "confluent-kafka": confluent_kafka,
    "librdkafka": librdkafka,
    "java": java,
}


def _pytest(suite: PytestSuite, scenario: str = "default") -> Suite:
    def parts(tests: Sequence[str]) -> list[Part]:
        files = groupby(sorted(tests, key=_file), key=_file)
        return [
            Part(file.removesuffix(".py").replace("/", "."), scenario, tuple(names), suite.run)
            for file, names in files
        ]

    return Suite(tuple(suite.collect()), parts)


def _file(test: str) -> str:
    return test.partition("::")[0]


def _checkout(name: str, variable: str, proof: str) -> Path:
    """A suite that no registry has: its authors leave the tests out of what they publish."""
    given = os.environ.get(variable)
    if not given:
        raise sources.Unavailable(
            f"no package of {name} has its tests; a checkout of its source named by "
            f"{variable} is run"
        )
    root = Path(given)
    if not (root / proof).exists():
        raise sources.Unavailable(f"{variable}={given} has no {proof}")
    return root


def _without_package(build: Path, root: Path, package: str) -> Path:
    """The checkout's tests beside nothing: the package itself comes as built, from its wheel."""
    folder = build / "checkouts" / package
    folder.mkdir(parents=True, exist_ok=True)
    for path in root.iterdir():
        link = folder / path.name
        if path.name not in (package, "src") and not link.exists():
            link.symlink_to(path)
    return folder
