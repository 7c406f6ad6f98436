"""The launcher, the native wheels and the doctor. Only the installer is a fake."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

from deploy import native_wheels
from pipeline import doctor

ROOT = Path(__file__).parent.parent

# Stands in for uv, because the tests have no network: it notes how it was called, and
# waits while a file named `hold` is there.
FAKE_UV = """
import json, os, pathlib, sys, time
def main():
    home = pathlib.Path(os.environ["FAKE_UV_HOME"])
    settings = {key: os.environ[key] for key in os.environ if key.startswith("UV_")}
    with open(home / "calls", "a") as calls:
        print(json.dumps({"arguments": sys.argv[1:], "settings": settings}), file=calls)
    while (home / "hold").exists():
        time.sleep(0.02)
    if (home / "fail").exists():
        sys.exit((home / "fail").read_text())
"""
FAKE_CLI = """
import json, os, sys
leaked = [key for key in os.environ if key.startswith("UV_")]
print(json.dumps({"arguments": sys.argv[1:], "folder": os.getcwd(), "leaked": leaked}))
"""
INDEXES = "https://one.test/simple https://two.test/simple"


def write_wheel(folder: Path) -> None:
    pinned = (ROOT / "strata").read_text().partition("UV_PINNED=")[2].split()[0]
    info = f"uv-{pinned}.dist-info"
    with zipfile.ZipFile(folder / f"uv-{pinned}-py3-none-any.whl", "w") as wheel:
        wheel.writestr("fake_uv.py", FAKE_UV)
        wheel.writestr(f"{info}/METADATA", f"Name: uv\nVersion: {pinned}\n")
        kind = "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        wheel.writestr(f"{info}/WHEEL", kind)
        scripts = "[console_scripts]\nuv=fake_uv:main\n"
        wheel.writestr(f"{info}/entry_points.txt", scripts)
        wheel.writestr(f"{info}/RECORD", "")


class House:
    """A copy of the launcher in a small repository of its own."""

    def __init__(self, folder: Path):
        self.root = folder / "house"
        self.fake = folder / "fake"
        self.user = folder / "user"
        self.venv = self.root / ".venv"
        self.environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(folder),
            "STRATA_PYTHON": sys.executable,
            "FAKE_UV_HOME": str(self.fake),
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(self.fake),
            "PIP_EXTRA_INDEX_URL": INDEXES,
        }

    def build(self) -> None:
        for name in ("deploy", "pipeline", "pytest"):
            (self.root / name).mkdir(parents=True)
        self.fake.mkdir()
        self.user.mkdir()
        shutil.copy(ROOT / "strata", self.root)
        self.pin("absl-py==1.4.0")
        (self.root / "deploy/native_wheels.py").write_text("")
        (self.root / "deploy/check_native_wheels.py").write_text("")
        (self.root / "pipeline/cli.py").write_text(FAKE_CLI)
        (self.root / "pytest/__main__.py").write_text(FAKE_CLI)
        write_wheel(self.fake)

    def pin(self, line: str) -> None:
        (self.root / "requirements.txt").write_text(line + "\n")

    def start(self, *arguments: str, **extra: str) -> subprocess.Popen[str]:
        script = extra.pop("script", self.root / "strata")
        return subprocess.Popen(
            [script, *arguments],
            env=self.environment | extra,
            cwd=self.user,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str, **extra: str) -> tuple[int, str, str]:
        process = self.start(*arguments, **extra)
        out, err = process.communicate(timeout=120)
        return process.returncode, out, err

    def calls(self) -> list[dict]:
        path = self.fake / "calls"
        text = path.read_text() if path.exists() else ""
        return [json.loads(line) for line in text.splitlines()]

    def wait_for_calls(self, count: int) -> None:
        deadline = time.monotonic() + 60
        while len(self.calls()) < count:
            assert time.monotonic() < deadline, f"uv was not called {count} times"
            time.sleep(0.02)


@pytest.fixture
def house(tmp_path):
    house = House(tmp_path)
    house.build()
    return house


@pytest.fixture(scope="module")
def made_once(tmp_path_factory):
    folder = tmp_path_factory.mktemp("made")
    house = House(folder)
    house.build()
    code, _, err = house.run("anything")
    assert code == 0, err
    return folder


@pytest.fixture
def settled(made_once, tmp_path):
    """A house whose environment is made: uv was called once."""
    shutil.copytree(made_once, tmp_path, symlinks=True, dirs_exist_ok=True)
    return House(tmp_path)


def shim(folder: Path, version: str, imports: str = "exit 0") -> str:
    """Write a Python that only tells its version."""
    path = folder / "python-shim"
    path.write_text(f'#!/bin/sh\ncase "$*" in *ensurepip*) {imports} ;; esac\n')
    with path.open("a") as file:
        file.write(f"echo {version}\n")
    path.chmod(0o755)
    return str(path)


def test_a_missing_python_is_named_and_nothing_is_made(house):
    code, _, err = house.run(STRATA_PYTHON="/nowhere/python3.11")
    assert code == 3
    assert "Expected Python 3.11, 3.12 or 3.13" in err
    assert "no /nowhere/python3.11 that runs" in err
    assert not house.venv.exists()


def test_an_old_python_is_refused_with_its_version(house, tmp_path):
    old = shim(tmp_path, "3.9.2")
    code, _, err = house.run(STRATA_PYTHON=old)
    assert code == 3
    assert f"{old} is 3.9.2" in err


def test_a_python_without_venv_names_the_debian_package(house, tmp_path):
    bare = shim(tmp_path, "3.12.1", imports="exit 1")
    code, _, err = house.run(STRATA_PYTHON=bare)
    assert code == 3
    assert "apt-get install python3.12-venv" in err


def test_first_use_installs_and_the_next_use_does_not(settled):
    (call,) = settled.calls()
    assert call["arguments"][:2] == ["pip", "install"]
    assert "--compile-bytecode" in call["arguments"]
    assert call["arguments"][-1].endswith("/house/requirements.txt")
    code, out, err = settled.run("run", "two words")
    assert (code, err) == (0, "")
    assert json.loads(out)["arguments"] == ["run", "two words"]
    assert len(settled.calls()) == 1


def test_uv_gets_the_settings_of_pip_and_the_command_does_not(settled):
    settled.pin("absl-py==1.5.0")
    _, out, _ = settled.run()
    settings = settled.calls()[1]["settings"]
    assert settings["UV_FIND_LINKS"] == str(settled.fake)
    assert settings["UV_INDEX"] == INDEXES
    assert settings["UV_INDEX_STRATEGY"] == "unsafe-best-match"
    assert settings["UV_NO_INDEX"] == "1"
    assert json.loads(out)["leaked"] == []


def test_the_settings_of_uv_win_over_those_of_pip(settled):
    settled.pin("absl-py==1.5.0")
    settled.run(UV_INDEX="https://mine.test/simple")
    assert settled.calls()[1]["settings"]["UV_INDEX"] == "https://mine.test/simple"


def test_it_runs_where_the_user_stands_and_imports_its_own_code(settled, tmp_path):
    (settled.user / "pipeline").mkdir()
    (settled.user / "pipeline/__init__.py").write_text("raise SystemExit(9)")
    link = tmp_path / "link"
    link.symlink_to("house/strata")
    code, out, err = settled.run(script=str(link))
    assert code == 0, err
    assert json.loads(out)["folder"] == str(settled.user)


def test_the_test_command_runs_pytest_in_the_root(settled):
    code, out, _ = settled.run("test", "-m", "slow or e2e")
    assert code == 0
    assert json.loads(out)["arguments"] == ["-m", "slow or e2e"]
    assert json.loads(out)["folder"] == str(settled.root)


def test_changed_pins_update_the_environment_in_place(settled):
    mine = settled.venv / "mine"
    mine.touch()
    settled.pin("absl-py==1.5.0")
    code, _, err = settled.run()
    assert code == 0, err
    assert "the pinned packages have changed" in err
    assert "--reinstall-package" in settled.calls()[1]["arguments"]
    assert mine.exists()
    assert settled.run()[2] == ""


def test_a_set_up_killed_half_way_is_made_again(settled):
    (settled.fake / "hold").touch()
    settled.pin("absl-py==1.5.0")
    first = settled.start()
    settled.wait_for_calls(2)
    first.send_signal(signal.SIGKILL)
    leftover = settled.venv / "leftover"
    leftover.touch()
    (settled.fake / "hold").unlink()
    first.communicate()
    code, _, err = settled.run()
    assert code == 0, err
    assert "is incomplete" in err
    assert not leftover.exists()
    assert len(settled.calls()) == 3
    assert settled.run()[2] == ""


def test_of_two_set_ups_at_once_one_waits_for_the_other(settled):
    (settled.fake / "hold").touch()
    settled.pin("absl-py==1.5.0")
    first = settled.start("one")
    settled.wait_for_calls(2)
    second = settled.start("two")
    assert f"(process {first.pid}); waiting" in second.stderr.readline()
    (settled.fake / "hold").unlink()
    for process, argument in ((first, "one"), (second, "two")):
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
        assert json.loads(out)["arguments"] == [argument]
    assert len(settled.calls()) == 2


@pytest.mark.parametrize(
    ("error", "advice"),
    [
        ("No space left on device (os error 28)", "The disk is full"),
        ("error sending request: dns error", "The package index does not answer"),
        ("a has no wheels with a matching platform tag", "This platform has no wheels"),
    ],
)
def test_a_failure_shows_its_log_and_what_to_do(settled, error, advice):
    (settled.fake / "fail").write_text(error)
    settled.pin("absl-py==1.5.0")
    code, out, err = settled.run()
    assert (code, out) == (3, "")
    assert f"    {error}" in err
    assert f"stopped at 'packages'. {advice}" in err
    assert error in (settled.venv / "setup.log").read_text()
    assert not (settled.venv / ".strata-ready").exists()


def test_a_folder_of_somebody_else_is_never_removed(house, tmp_path):
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "pyvenv.cfg").touch()
    code, _, err = house.run(STRATA_VENV=str(precious))
    assert code == 3
    assert "was not made by" in err
    assert (precious / "pyvenv.cfg").exists()


def test_only_a_file_that_asks_for_a_newer_glibc_is_patched(tmp_path):
    old, new = tmp_path / "old.so", tmp_path / "new.so"
    old.write_bytes(b"\0GLIBC_2.34\0GLIBC_2.380\0")
    new.write_bytes(b"\0GLIBC_2.34\0GLIBC_2.38\0")
    assert not native_wheels.patch(old)
    assert native_wheels.needs_new_glibc(new)
    with pytest.raises(SystemExit, match="not a shared object"):
        native_wheels.patch(new)


def test_a_patched_extension_is_left_alone(tmp_path):
    for path in native_wheels.extension_paths():
        copy = tmp_path / path.name
        shutil.copy(path, copy)
        native_wheels.patch(copy)  # True on glibc 2.39, where the wheel is as it came
        before = (copy.stat().st_ino, copy.read_bytes())
        assert native_wheels.patch(copy) is False
        assert (copy.stat().st_ino, copy.read_bytes()) == before


@pytest.mark.parametrize(
    ("system", "machine"),
    [
        (("glibc", "2.31"), "x86_64"),
        (("glibc", "2.36"), "aarch64"),
        (("", ""), "arm64"),
    ],
)
def test_a_system_without_wheels_is_named(monkeypatch, system, machine):
    monkeypatch.setattr(native_wheels.platform, "libc_ver", lambda: system)
    monkeypatch.setattr(native_wheels.platform, "machine", lambda: machine)
    with pytest.raises(SystemExit, match=f"Expected 64-bit x86 .* {machine}"):
        native_wheels.glibc_version()


def test_the_report_matches_the_lock_and_lists_the_machine():
    findings = {finding.name: finding for finding in doctor.report()}
    assert [name for name, finding in findings.items() if not finding.ok] == []
    assert findings["tensorflow"].value == "2.21.0"
    machine = {"python", "cores", "memory", "disk", "glibc", "devices", "port 8501"}
    assert machine | set(doctor.PACKAGES) <= set(findings)


def test_a_wrong_and_a_missing_package_fail_the_report(monkeypatch, capsys):
    real = doctor.importlib.metadata.version

    def version(name: str) -> str:
        if name == "tfx":
            raise doctor.importlib.metadata.PackageNotFoundError(name)
        return "3.0.0" if name == "keras" else real(name)

    monkeypatch.setattr(doctor.importlib.metadata, "version", version)
    assert doctor.main(as_json=True) == 3
    printed = json.loads(capsys.readouterr().out)
    findings = {finding["name"]: finding for finding in printed}
    wrong = {name for name, finding in findings.items() if not finding["ok"]}
    assert wrong == {"keras", "tfx"}
    assert findings["keras"]["value"] == "Expected 3.15.1. Received: 3.0.0"
    assert findings["tfx"]["value"] == "Expected 1.21.0. Received: none"


def test_an_unpatched_wheel_fails_the_report_on_an_old_glibc(monkeypatch, tmp_path):
    extension = tmp_path / "extension.so"
    extension.write_bytes(b"\0CXXABI_1.3.15\0")
    monkeypatch.setattr(native_wheels, "extension_paths", lambda: [extension])
    monkeypatch.setattr(native_wheels, "glibc_version", lambda: (2, 36))
    (glibc,) = (f for f in doctor.report() if f.name == "glibc")
    assert not glibc.ok
    assert "extension.so" in glibc.value
    monkeypatch.setattr(native_wheels, "glibc_version", lambda: (2, 39))
    (glibc,) = (f for f in doctor.report() if f.name == "glibc")
    assert glibc.ok


def test_a_taken_port_is_advice_not_failure(monkeypatch):
    with doctor.socket.socket() as taken:
        taken.bind(("0.0.0.0", 0))
        taken.listen()
        port = taken.getsockname()[1]
        monkeypatch.setattr(doctor, "PORTS", {port: "REST"})
        (found,) = (f for f in doctor.report() if f.name == f"port {port}")
    assert found.ok
    assert "another port for REST" in found.advice


def test_the_doctor_loads_nothing_heavy():
    code = (
        "import sys; from pipeline import doctor; doctor.report();"
        "print(sorted({'tensorflow', 'numpy', 'tfx', 'lief'} & set(sys.modules)))"
    )
    command = [sys.executable, "-c", code]
    answer = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert answer.stdout == "[]\n", answer.stderr
