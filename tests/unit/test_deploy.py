"""What is shipped for Docker, Kubernetes and systemd names commands and settings that exist."""

import configparser
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import flower.options  # noqa: F401 - defines Flower's options
import pytest
import yaml
from celery.bin.celery import celery
from tornado.options import options as flower_options

from mailer.cli.app import cli
from mailer.embedded import catcher
from mailer.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
DOCKERFILE = (ROOT / "deploy/Dockerfile").read_text()
MANIFESTS = sorted((ROOT / "deploy/kubernetes").glob("*.yaml"))
UNITS = sorted((ROOT / "deploy/systemd").glob("*.service"))
OURS = {"migrate", "worker", "beat", "flower", "catcher"}
VARIABLES = {
    "MAILER_CONFIG",
    "MAILER_DATABASE_URL",
    "MAILER_BROKER_URL",
    "MAILER_REDIS_URL",
    "MAILER_STATE_DIR",
}


def _documents() -> list[dict[str, Any]]:
    return [d for path in MANIFESTS for d in yaml.safe_load_all(path.read_text())]


def _pods() -> dict[str, Any]:
    return {
        d["metadata"]["name"]: d["spec"]["template"]["spec"]
        for d in _documents()
        if d["kind"] in {"Deployment", "Job"}
    }


def _unit(path: Path) -> configparser.ConfigParser:
    unit = configparser.ConfigParser(interpolation=None, delimiters="=")
    unit.optionxform = str  # type: ignore[assignment,method-assign]
    unit.read_string(path.read_text())
    return unit


def _commands() -> Iterator[tuple[str, list[str]]]:
    for name in OURS:
        yield f"compose {name}", SERVICES[name]["command"]
    for name, pod in _pods().items():
        yield f"kubernetes {name}", pod["containers"][0]["command"]
    for path in UNITS:
        service = _unit(path)["Service"]
        for key in ("ExecStartPre", "ExecStart"):
            if key in service:
                program, *arguments = shlex.split(service[key])
                assert program.startswith("/opt/mailer/bin/")
                yield f"systemd {path.name} {key}", [Path(program).name, *arguments]


COMMANDS = dict(_commands())


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS.keys())
def test_each_command_exists_and_takes_its_arguments(command: list[str]) -> None:
    match command:
        case ["mailer", name, *arguments]:
            _parse(cli.commands[name], arguments)
        case ["celery", "-A", "workers", "flower", *arguments]:
            names = {argument.split("=")[0].lstrip("-").replace("-", "_") for argument in arguments}
            assert names <= {name.replace("-", "_") for name in flower_options}
        case ["celery", "-A", app, part, *arguments]:
            assert (app, part) in {("workers", "worker"), ("scheduler", "beat")}
            _parse(celery.commands[part], arguments)
        case ["python", "-m", "mailer.embedded.catcher", *arguments]:
            _parse(catcher.main, arguments)
        case _:
            pytest.fail(f"unknown: {command}")


def _parse(command: click.Command, arguments: list[str]) -> None:
    """Are these its options? Nothing is run, and no value is looked at."""
    parser = command.make_parser(click.Context(command))
    _, left, _ = parser.parse_args(list(arguments))
    assert left == []


def test_only_known_settings_are_set() -> None:
    texts = [path.read_text() for path in [ROOT / "compose.yaml", *MANIFESTS, *UNITS]]
    names = set(re.findall(r"MAILER_[A-Z_]+", "\n".join([*texts, DOCKERFILE])))
    # Chosen by whoever runs compose, not read by us: which mailer.toml is mounted.
    assert names - {"MAILER_TOML"} <= VARIABLES


@pytest.mark.parametrize("source", ["development", "kubernetes"])
def test_the_sample_settings_are_valid(source: str) -> None:
    if source == "development":
        text = (ROOT / "deploy/mailer.toml").read_text()
    else:
        config = next(d for d in _documents() if d["kind"] == "ConfigMap")
        text = config["data"]["mailer.toml"]
    settings = Settings.parse(tomllib.loads(text), {"SMTP_PASSWORD": "x"})
    assert settings.providers


def test_compose_has_every_part_and_the_catcher_only_for_development() -> None:
    assert set(SERVICES) == OURS | {"postgres", "redis"}
    assert {name for name in SERVICES if "profiles" in SERVICES[name]} == {"catcher"}


def test_compose_waits_for_the_migration_once() -> None:
    assert SERVICES["migrate"]["restart"] == "on-failure"
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}
    for name in ("worker", "beat", "flower"):
        waits = SERVICES[name]["depends_on"]
        assert waits["migrate"] == {"condition": "service_completed_successfully"}
        assert waits["redis"] == {"condition": "service_healthy"}


def test_every_lasting_service_has_a_health_check_and_comes_back() -> None:
    for name in set(SERVICES) - {"migrate"}:
        assert SERVICES[name]["healthcheck"]["test"], name
        assert SERVICES[name]["restart"] == "unless-stopped", name


def test_the_worker_scales() -> None:
    assert not {"container_name", "ports", "hostname"} & SERVICES["worker"].keys()


def test_a_worker_gets_as_long_to_stop_everywhere() -> None:
    unit = _unit(ROOT / "deploy/systemd/mailer-worker@.service")["Service"]
    pod = _pods()["mailer-worker"]
    assert SERVICES["worker"]["stop_grace_period"] == "2m"
    assert (unit["TimeoutStopSec"], pod["terminationGracePeriodSeconds"]) == ("120", 120)


def test_images_are_pinned() -> None:
    images = [SERVICES[name]["image"] for name in ("postgres", "redis")]
    images += re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    assert len(images) == 4
    for image in images:
        assert re.fullmatch(r"[a-z]+:\d+\.\d+(\.\d+)?-[a-z]+(-[a-z]+)?", image), image


def test_volumes_are_declared_and_settings_are_mounted_read_only() -> None:
    named = {
        volume.split(":")[0]
        for service in SERVICES.values()
        for volume in service.get("volumes", ())
        if isinstance(volume, str)
    }
    assert named == set(COMPOSE["volumes"])
    for name in ("worker", "beat", "flower", "migrate"):
        bind = SERVICES[name]["volumes"][0]
        assert (bind["target"], bind["read_only"]) == ("/etc/mailer/mailer.toml", True)


def test_ports_open_on_this_machine_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert ports
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_the_image_is_built_from_pins_and_runs_as_a_plain_user() -> None:
    build, final = DOCKERFILE.split("\nFROM ")[1:]
    assert "-c constraints.txt" in build
    assert "apt-get" not in DOCKERFILE
    assert re.search(r"^USER 10001$", final, re.MULTILINE)
    assert re.search(r"^STOPSIGNAL SIGTERM$", final, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK NONE$", final, re.MULTILINE)
    assert "pip" not in final


def test_the_build_gets_all_that_the_dockerfile_copies() -> None:
    allowed = set(re.findall(r"^!(\S+)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE))
    copied = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    names = {name for line in copied for name in line.split()}
    assert names == allowed
    assert all((ROOT / name).exists() for name in names)


def test_pods_run_as_a_plain_user_on_a_read_only_system() -> None:
    for name, pod in _pods().items():
        assert pod["securityContext"]["runAsNonRoot"] is True, name
        container = pod["containers"][0]["securityContext"]
        assert container["readOnlyRootFilesystem"] is True, name
        assert container["allowPrivilegeEscalation"] is False, name


def test_constraints_pin_every_dependency_and_hold_no_address() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in lines)
    pinned = {_canonical(line.split("==")[0]) for line in lines}
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = [name for extra in project["optional-dependencies"].values() for name in extra]
    asked = {re.split(r"[^\w.-]", name)[0] for name in [*project["dependencies"], *extras]}
    assert {_canonical(name) for name in asked} <= pinned


def _canonical(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()
