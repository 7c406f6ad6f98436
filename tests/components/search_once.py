"""Run a search in a process that may be told to die within a trial.

Arguments: folder of the examples, folder that outlives the process, number of the epoch
at whose end to die (0: never). Prints the trials' figures and the epochs run as JSON.
"""

import json
import logging
import os
import sys
from pathlib import Path

from components.training_progress import progress
from tests.components.searches import data_in, search


class Death(logging.Handler):
    """Counts the epochs that are reported, which is before they are kept."""

    def __init__(self, dies_at):
        super().__init__()
        self.epochs, self._dies_at = 0, dies_at

    def emit(self, record):
        self.epochs += "val_loss" in record.getMessage()
        if self.epochs == self._dies_at:
            os._exit(9)  # as a kill: nothing is cleaned up


def main(examples, kept, dies_at):
    death = Death(int(dies_at) or None)
    progress.addHandler(death)
    progress.setLevel(logging.INFO)
    data = data_in(Path(examples))
    found = search(data, Path(kept), trials=3, method="random")
    sys.stdout.write(json.dumps({"figures": found.figures, "epochs": death.epochs}))


if __name__ == "__main__":
    main(*sys.argv[1:])
