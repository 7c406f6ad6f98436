"""The command line. Light: TensorFlow is imported only where a command must."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from pipeline import engines
from pipeline.workspace import FULL_DISK, is_full_disk
from recipes.errors import BadInputError, StrataError

Command = Callable[[argparse.Namespace], int]
Add = Callable[[str, Command, str], argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; return its exit code.

    0 done; 2 bad input or recipe; 3 missing device, engine or dependency; 4 refused by
    the examination; 1 anything else.
    """
    parsed = _parse(arguments)
    try:
        code: int = parsed.command(parsed)
    except KeyboardInterrupt:
        print("strata: interrupted; run it again to go on from here", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `strata ... | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except Exception as error:
        message, code = _explain(error)
        if not message:
            raise  # a fault of ours keeps its traceback
        print(f"strata: {message}", file=sys.stderr)
    return code


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse arguments; overrides may also stand behind options."""
    parser = _parser()
    parsed, rest = parser.parse_known_args(arguments)
    if not hasattr(parsed, "overrides") or any(
        text.startswith("-") or "=" not in text for text in rest
    ):
        parser.parse_args(arguments)  # says what is wrong, and exits
    else:
        parsed.overrides += rest
    return parsed


def _explain(error: Exception) -> tuple[str, int]:
    """Return what to tell the user, if it is for the user, and the exit code."""
    if isinstance(error, StrataError):
        return str(error), error.exit_code
    if is_full_disk(error):
        return FULL_DISK, 1
    if isinstance(error, PermissionError):
        text = f"No permission for {error.filename}. Own it, or set STRATA_HOME."
        return text, BadInputError.exit_code
    return "", 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="strata",
        description="From a recipe to a served model.",
        epilog="State is kept in ./workspace, or where STRATA_HOME says.",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    def add(name: str, command: Command, text: str) -> argparse.ArgumentParser:
        sub = commands.add_parser(name, help=text, description=text)
        sub.set_defaults(command=command)
        return sub

    _add_runs(add)
    _add_serving(add)
    _add_proofs(add)
    add("recipe-schema", _recipe_schema, "print the JSON Schema of recipes")
    doctor = add("doctor", _doctor, "say what this machine has and lacks")
    doctor.add_argument("--json", action="store_true")
    add("test", _test, "set everything up and run the tests")
    return parser


def _add_runs(add: Add) -> None:
    demo = add("demo", _demo, "run digits, serve it, ask it over REST and gRPC")
    demo.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    demo.add_argument(
        "--break",
        dest="fault",
        metavar="KIND",
        help="plant a fault and see it refused: labels, shift, leak, dropped_column, "
        "serving, undertraining, capacity or duplicates",
    )

    new = add("new", _new, "look at data and write a recipe, a schema, a first test")
    new.add_argument("name", help="of the recipe")
    new.add_argument(
        "--from",
        dest="sources",
        action="append",
        required=True,
        metavar="FILE|DIR|tfds:NAME",
        help="the data; or train=FILE and test=FILE, or tfds:NAME and "
        "download_dir=DIR, an option each",
    )
    new.add_argument("--label", help="column to predict; folders are labels anyway")

    run = add("run", _run, "run a recipe: only the steps that must")
    run.add_argument("recipe", help="a name such as digits, or a YAML file")
    run.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    run.add_argument("--json", action="store_true", help="one JSON object per event")

    data = add("data", _data, "bring the data of a recipe in and check them")
    data.add_argument("recipe", help="a name such as digits, or a YAML file")
    data.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    data.add_argument("--json", action="store_true", help="one JSON object per event")

    schema = add("schema", _schema, "compare or replace the frozen schema of a recipe")
    schema.add_argument("action", choices=["diff", "accept"])
    schema.add_argument("recipe", help="a name such as digits, or a YAML file")

    why = add("why", _why, "say what became of a run, and what caused a refusal")
    why.add_argument(
        "run",
        nargs="?",
        metavar="RUN|NAME",
        help="number, recipe (its last run) or NAME@VERSION; default: the last run",
    )
    why.add_argument(
        "--retest",
        action="store_true",
        help="of a refused run: try aside what could mend it, and say what it reached",
    )

    runs = add("runs", _runs, "list the last runs")
    runs.add_argument("name", nargs="?", help="only of this recipe")

    show = add("show", _show, "tell all that is recorded about a run")
    show.add_argument(
        "run",
        nargs="?",
        metavar="RUN|NAME",
        help="number, recipe (its last run) or NAME@VERSION; default: the last run",
    )
    show.add_argument("--json", action="store_true")

    lineage = add("lineage", _lineage, "follow a version back to its data and code")
    lineage.add_argument(
        "version", metavar="NAME[@VERSION]", help="default: the live version"
    )
    lineage.add_argument("--json", action="store_true")

    diff = add("diff", _diff, "say what differs between two runs")
    for side in ("a", "b"):
        diff.add_argument(side, help="number, recipe (its last run) or NAME@VERSION")
    diff.add_argument("--json", action="store_true")

    bless = add("bless", _bless, "push a refused candidate all the same, on record")
    bless.add_argument("run", metavar="RUN", help="whose candidate was refused")
    bless.add_argument("--force", action="store_true", help="needed: it was refused")
    bless.add_argument("--reason", help="needed: kept and shown with the version")


def _add_serving(add: Add) -> None:
    serve = add("serve", _serve, "serve the live version over REST and gRPC")
    serve.add_argument("name", help="recipe whose model to serve")
    serve.add_argument("--port", type=int, default=8500, help="gRPC port")
    serve.add_argument("--rest_api_port", type=int, default=8501)
    serve.add_argument("--host", default="127.0.0.1")
    serve.add_argument(
        "--engine",
        choices=engines.NAMES,
        default="auto",
        help="which server: auto takes the built-in one where it is installed",
    )

    predict = add("predict", _predict, "ask a served model over REST")
    predict.add_argument("name", help="model")
    predict.add_argument(
        "instances", help="JSON list of instances, @FILE holding it, or - for stdin"
    )
    predict.add_argument("--signature", default="serve_raw")
    predict.add_argument("--url", default="http://127.0.0.1:8501")


def _add_proofs(add: Add) -> None:
    prove = add("prove", _prove, "prove what is claimed of rollovers and trainings")
    prove.add_argument(
        "what",
        choices=["rollover", "resume", "repro"],
        help="versions swap under load and nothing is lost; a killed training goes on "
        "exactly; a training can be repeated to the bit",
    )
    prove.add_argument("name", nargs="?", default="digits", help="recipe, once run")
    prove.add_argument("overrides", nargs="*", metavar="KEY=VALUE")
    prove.add_argument("--requests", type=int, default=10_000, help="at least")
    prove.add_argument("--seconds", type=float, default=300.0, help="at most")

    bench = add("bench", _bench, "measure the built-in server with a live model")
    bench.add_argument("what", choices=["serve"])
    bench.add_argument("name", nargs="?", default="digits", help="recipe, once run")
    bench.add_argument("--seconds", type=float, default=3.0, help="of each of six")

    zoo = add("zoo", _zoo, "list the recipes that come along, and what they reached")
    zoo.add_argument("recipes", nargs="*", metavar="RECIPE", help="default: all")
    zoo.add_argument(
        "--check", action="store_true", help="run, serve and ask a small form of each"
    )


def _demo(parsed: argparse.Namespace) -> int:
    demo = import_module("pipeline.demo")
    if parsed.fault:
        return int(demo.break_it(parsed.fault, parsed.overrides))
    return int(demo.main(parsed.overrides))


def _new(parsed: argparse.Namespace) -> int:
    from pipeline import display, new
    from pipeline.workspace import open_workspace

    shown = display.Lines()
    new.main(parsed.name, parsed.sources, parsed.label, open_workspace(), shown)
    return 0


def _run(parsed: argparse.Namespace) -> int:
    from pipeline import display, run
    from pipeline.workspace import open_workspace

    shown = display.JsonLines() if parsed.json else display.Lines()
    outcome = run.run(parsed.recipe, parsed.overrides, open_workspace(), shown)
    shown.line(f" live: {outcome.job.name} version {outcome.live.version}")
    return 0


def _data(parsed: argparse.Namespace) -> int:
    from pipeline import display, run
    from pipeline.workspace import open_workspace

    shown = display.JsonLines() if parsed.json else display.Lines()
    run.check_data(parsed.recipe, parsed.overrides, open_workspace(), shown)
    return 0


def _schema(parsed: argparse.Namespace) -> int:
    return int(import_module("pipeline.schema").main(parsed.action, parsed.recipe))


def _why(parsed: argparse.Namespace) -> int:
    main = import_module("pipeline.why").main
    return int(main(parsed.run, retest=parsed.retest))


def _runs(parsed: argparse.Namespace) -> int:
    return int(import_module("pipeline.runs").list_runs(parsed.name))


def _show(parsed: argparse.Namespace) -> int:
    return int(import_module("pipeline.show").main(parsed.run, as_json=parsed.json))


def _lineage(parsed: argparse.Namespace) -> int:
    main = import_module("pipeline.lineage").main
    return int(main(parsed.version, as_json=parsed.json))


def _diff(parsed: argparse.Namespace) -> int:
    main = import_module("pipeline.diff").main
    return int(main(parsed.a, parsed.b, as_json=parsed.json))


def _bless(parsed: argparse.Namespace) -> int:
    main = import_module("pipeline.bless").main
    return int(main(parsed.run, force=parsed.force, reason=parsed.reason))


def _serve(parsed: argparse.Namespace) -> int:
    from pipeline import ask

    ask.serve(
        parsed.name,
        host=parsed.host,
        port=parsed.port,
        rest_api_port=parsed.rest_api_port,
        engine=parsed.engine,
    )
    return 1


def _predict(parsed: argparse.Namespace) -> int:
    from pipeline import ask

    answer = ask.predict(
        parsed.name, parsed.instances, signature=parsed.signature, url=parsed.url
    )
    print(json.dumps(answer, indent=2))
    return 0


def _prove(parsed: argparse.Namespace) -> int:
    from pipeline import display, prove, prove_training
    from pipeline.workspace import open_workspace
    from serving.load import Bounds

    say = display.Lines().line
    if parsed.what == "resume":
        return prove_training.resume(parsed.name, parsed.overrides, say)
    if parsed.what == "repro":
        return prove_training.repeat(parsed.name, parsed.overrides, say)
    bounds = Bounds(num_requests=parsed.requests, seconds=parsed.seconds)
    return prove.rollover(parsed.name, open_workspace(), bounds, say)


def _bench(parsed: argparse.Namespace) -> int:
    from pipeline import bench, display
    from pipeline.workspace import open_workspace

    say = display.Lines().line
    return bench.serve(parsed.name, open_workspace(), parsed.seconds, say)


def _zoo(parsed: argparse.Namespace) -> int:
    from pipeline import display, zoo
    from pipeline.workspace import open_workspace

    say = display.Lines().line
    if not parsed.check:
        return zoo.show(parsed.recipes, say)
    check = import_module("pipeline.zoo_check").check
    return int(check(parsed.recipes, open_workspace(), say))


def _recipe_schema(parsed: argparse.Namespace) -> int:
    from recipes.schema import Recipe

    del parsed
    print(json.dumps(Recipe.model_json_schema(), indent=2))
    return 0


def _doctor(parsed: argparse.Namespace) -> int:
    return int(import_module("pipeline.doctor").main(as_json=parsed.json))


def _test(parsed: argparse.Namespace) -> int:
    del parsed
    print("strata: `test` is run by the launcher: ./strata test", file=sys.stderr)
    return 2


if __name__ == "__main__":
    sys.exit(main())
