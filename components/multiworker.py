"""Run a worker of a cluster: python -m components.multiworker ARGUMENTS.json.

The chief trains as a step of a run; when it starts, it writes what the step was called
with to `worker.json` beside its checkpoints. Each other worker is started with
TF_CONFIG and that file, at a path that all of them see, and trains as one of them.
"""

import json
import sys
from pathlib import Path

import attr
from tfx.components.trainer.fn_args_utils import FnArgs

from components import cluster
from recipes.errors import StrataError

ARGUMENTS = "worker.json"


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
    (directory / ARGUMENTS).write_text(json.dumps(values))


def main(path: str) -> None:
    """Train with the arguments in a JSON file."""
    from components import train  # which imports this module

    try:
        train.run_fn(FnArgs(**json.loads(Path(path).read_text())))
    except StrataError as error:
        sys.stderr.write(f"{error}\n")
        raise SystemExit(error.exit_code) from error


if __name__ == "__main__":
    main(*sys.argv[1:])
