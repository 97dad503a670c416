"""Where all that is run comes from: the package registries, by name and version, into one folder.

Nothing is in this tree: Kafka's jars come by mvn, kafka-python's tests in its sdist, librdkafka's
source with its test programs in the crate rdkafka-sys, the clients as wheels. A folder is made
once; a stamp that names what it was made from says whether it still serves.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

KAFKA = "4.2.0"
KAFKA_PYTHON = "3.0.12"
CONFLUENT_KAFKA = "2.15.0"
AIOKAFKA = "0.14.0"
RDKAFKA_SYS = "4.10.0"  # ships librdkafka 2.12.1 as its authors released it, tests included

_ARTIFACTS = (
    ("org.apache.kafka", "kafka_2.13", KAFKA),
    ("org.apache.kafka", "kafka-streams", KAFKA),
    ("org.apache.kafka", "kafka-tools", KAFKA),
    ("org.apache.logging.log4j", "log4j-slf4j-impl", "2.24.3"),
)
_LOGGING = """\
Configuration:
  status: error
  Appenders:
    Console:
      name: STDOUT
      PatternLayout: {pattern: "[%d] %p %m (%c)%n"}
  Loggers:
    Root: {level: INFO, AppenderRef: {ref: STDOUT}}
"""
# What librdkafka's tests run from KAFKA_PATH/bin, and the class behind it.
_SCRIPTS = {
    "kafka-topics.sh": "org.apache.kafka.tools.TopicCommand",
    "kafka-acls.sh": "org.apache.kafka.tools.AclCommand",
    "kafka-run-class.sh": "",
}
_SCRIPT = """\
#!/bin/sh
libs=$(dirname "$0")/../libs
exec java -Xmx256m -cp "$CLASSPATH:$libs:$libs/*" {main_class} "$@"
"""


class Unavailable(Exception):
    """What is needed is not to be had here; the message says what and why."""


def kafka(build: Path) -> Path:
    """Kafka as its release is laid out, as far as it is used: `libs` with all jars and how they
    log, `bin` with the scripts that the suites call."""
    wanted = "\n".join(":".join(artifact) for artifact in _ARTIFACTS)

    def make(folder: Path) -> None:
        dependencies = "".join(
            f"<dependency><groupId>{group}</groupId><artifactId>{name}</artifactId>"
            f"<version>{version}</version></dependency>"
            for group, name, version in _ARTIFACTS
        )
        pom = folder / "pom.xml"
        pom.write_text(
            "<project><modelVersion>4.0.0</modelVersion><groupId>conformance</groupId>"
            "<artifactId>conformance</artifactId><version>1</version>"
            f"<dependencies>{dependencies}</dependencies></project>"
        )
        _run(
            [
                *("mvn", "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"),
                *(f"-DoutputDirectory={folder / 'libs'}", "-DincludeScope=runtime"),
            ]
        )
        (folder / "libs" / "log4j2.yaml").write_text(_LOGGING)
        (folder / "bin").mkdir()
        for name, main_class in _SCRIPTS.items():
            script = folder / "bin" / name
            script.write_text(_SCRIPT.format(main_class=main_class))
            script.chmod(0o755)

    described = wanted + _LOGGING + _SCRIPT + str(_SCRIPTS)
    return _made(build / "kafka", described, make, needs=("mvn", "java"))


def sdist(build: Path, name: str, version: str) -> Path:
    """The unpacked source distribution of a Python package."""

    def make(folder: Path) -> None:
        _run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"),
                *("--no-binary=:all:", "--no-build-isolation"),
                *(f"--dest={folder}", f"{name}=={version}"),
            ]
        )
        (archive,) = folder.glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            tar.extractall(folder, filter="data")

    folder = _made(build / "sdists" / name, version, make)
    (found,) = (path for path in folder.iterdir() if path.is_dir())
    return found


def virtual_environment(build: Path, name: str, requirements: Sequence[str]) -> Path:
    """The interpreter of an environment that holds just these packages."""

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        python = str(folder / "bin" / "python")
        _run([python, "-m", "pip", "install", "--quiet", "--upgrade", "pip"])
        _run([python, "-m", "pip", "install", "--quiet", *requirements])

    folder = _made(build / "environments" / name, "\n".join(requirements), make)
    return folder / "bin" / "python"


def librdkafka(build: Path) -> Path:
    """librdkafka's source tree, built with its test programs."""

    def make(folder: Path) -> None:
        (folder / "lib.rs").touch()
        (folder / "Cargo.toml").write_text(
            '[package]\nname = "conformance"\nversion = "0.0.0"\nedition = "2021"\n'
            f'[lib]\npath = "lib.rs"\n[dependencies]\nrdkafka-sys = "={RDKAFKA_SYS}"\n'
        )
        _run(["cargo", "vendor", "--quiet", "--versioned-dirs", "vendor"], folder)
        (crate,) = (folder / "vendor").glob("rdkafka-sys-*")
        source = folder / "librdkafka"
        shutil.copytree(crate / "librdkafka", source)
        shutil.rmtree(folder / "vendor")
        for script in (source / "configure", *(source / "mklove").rglob("*.sh")):
            script.chmod(0o755)
        _run(
            ["./configure", "--disable-gssapi", "--disable-curl", "--disable-zstd"],
            source,
            {"CPPFLAGS": _rapidjson(folder)},
        )
        _run(["make", "-j2", "libs"], source)
        _run(["make", "-j2", "-C", "tests", "build"], source)

    folder = _made(build / "librdkafka", RDKAFKA_SYS, make, needs=("cargo", "make", "cc", "c++"))
    return folder / "librdkafka"


def java_classes(build: Path, source: Path) -> Path:
    """A Java source file compiled with Kafka's jars."""
    libs = kafka(build) / "libs"

    def make(folder: Path) -> None:
        _run(["javac", "-d", str(folder), "-cp", f"{libs}/*", str(source)])

    wanted = source.read_text() + str(_ARTIFACTS)
    return _made(build / "java" / source.stem, wanted, make, needs=("javac",))


def _made(
    folder: Path, wanted: str, make: Callable[[Path], None], needs: Sequence[str] = ()
) -> Path:
    stamp = folder / ".made"
    digest = hashlib.sha256(wanted.encode()).hexdigest()
    if stamp.exists() and stamp.read_text() == digest:
        return folder
    missing = [tool for tool in needs if shutil.which(tool) is None]
    if missing:
        raise Unavailable(f"{', '.join(missing)} not found, which {folder.name} is made with")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    print(f"conformance: making {folder}", flush=True)
    make(folder)
    stamp.write_text(digest)
    return folder


def _rapidjson(folder: Path) -> str:
    """Options for the headers that four of the tests want, from Debian's package; none without
    it, and those tests then skip themselves."""
    try:
        _run(["apt-get", "download", "-qq", "rapidjson-dev"], folder)
        (package,) = folder.glob("rapidjson-dev_*.deb")
        _run(["dpkg-deb", "-x", str(package), str(folder / "rapidjson")])
    except (Unavailable, FileNotFoundError) as error:
        print(f"conformance: no rapidjson: {error}", flush=True)
        return ""
    return f"-isystem {folder / 'rapidjson' / 'usr' / 'include'}"


def _run(
    command: Sequence[str], folder: Path | None = None, environment: Mapping[str, str] | None = None
) -> None:
    ended = subprocess.run(
        command,
        cwd=folder,
        capture_output=True,
        text=True,
        env=os.environ | dict(environment or {}),
    )
    if ended.returncode:
        tail = (ended.stdout + ended.stderr)[-2000:]
        raise Unavailable(f"{' '.join(command)} ended with {ended.returncode}: {tail}")
