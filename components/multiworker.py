"""Run a worker of a cluster: python -m components.multiworker ARGUMENTS.json.

The chief trains as a step of a run; when it starts, it writes what the step was called
with to `worker.json` beside its checkpoints. Each other worker is started with
TF_CONFIG and that file, at a path that all of them see, and trains as one of them.
"""

import json
import logging
import os
import sys
from pathlib import Path

import attr
from tfx.components.trainer.fn_args_utils import FnArgs

from components import cluster
from components.meeting import COMMAND
from recipes.errors import MissingError, StrataError

ARGUMENTS = "worker.json"

_log = logging.getLogger(__name__)


def share(fn_args: FnArgs) -> None:
    """Write what the other workers need, if this one is the chief.

    Raises:
      MissingError: there is no cluster.
    """
    if cluster.read().index:
        return
    directory = Path(fn_args.custom_config["checkpoint_dir"])
    directory.mkdir(parents=True, exist_ok=True)
    values = attr.asdict(fn_args, filter=lambda field, _: field.name != "data_accessor")
    path, draft = directory / ARGUMENTS, directory / f"{ARGUMENTS}.draft"
    draft.write_text(json.dumps(values))
    os.replace(draft, path)
    _log.info("start each other worker: TF_CONFIG=... %s %s", COMMAND, path)


def main(path: str) -> int:
    """Train with the arguments in a JSON file; return the exit code."""
    from components import train  # which imports this module

    try:
        train.run_fn(_arguments(Path(path)))
    except StrataError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _arguments(path: Path) -> FnArgs:
    try:
        return FnArgs(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise MissingError(
            f"No arguments of a training in {path} ({type(error).__name__}). Start the "
            f"chief first: it writes {ARGUMENTS} beside its checkpoints, which all "
            "workers must see."
        ) from error


if __name__ == "__main__":
    STATUS = main(*sys.argv[1:])
    sys.stdout.flush()
    # An ordinary end waits for minutes for workers that have ended before.
    os._exit(STATUS)
