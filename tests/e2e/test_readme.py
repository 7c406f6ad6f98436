"""The README's commands are run as they stand, in order, by a shell."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from pipeline.cli import main
from recipes.schema import Recipe

REPOSITORY = Path(__file__).parents[2]
README = (REPOSITORY / "README.md").read_text("utf-8")


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```", README, re.MULTILINE | re.DOTALL)


@pytest.mark.e2e
@pytest.mark.skipif(
    not Path(sys.prefix, ".strata-ready").exists(),
    reason="runs ./strata, which would set up another environment than this one",
)
def test_shell_blocks_run_in_order(tmp_path):
    blocks = [block for block in _blocks("sh") if block != "./strata test\n"]
    assert len(blocks) >= 5
    environment = {
        **os.environ,
        "STRATA_VENV": sys.prefix,
        "STRATA_HOME": str(tmp_path / "workspace"),
    }
    script = "set -eux\n" + "\n".join(blocks)
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=REPOSITORY,
        env=environment,
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    assert "REST and gRPC agree" in result.stdout
    assert "15 steps up to date" in result.stdout
    assert '"predictions"' in result.stdout


def test_no_placeholder_is_left():
    assert re.findall(r"^[A-Z]{4,}$", README, re.MULTILINE) == []


def test_yaml_block_is_a_complete_recipe():
    (block,) = _blocks("yaml")
    recipe = Recipe.model_validate(yaml.safe_load(block), strict=False)
    assert recipe.name == "things"


def test_every_command_is_in_the_documents(capsys):
    documents = README + (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
    with pytest.raises(SystemExit):
        main(["--help"])
    commands = re.findall(r"^    ([a-z-]+)  ", capsys.readouterr().out, re.MULTILINE)
    assert "demo" in commands
    unnamed = [c for c in commands if not re.search(rf"(strata |`){c}\b", documents)]
    assert unnamed == []
