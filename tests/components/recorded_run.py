"""What is recorded about a run that never was, with every exam that has a picture."""

from recipes.examine import Examine

INTERVAL = {"mean": 0.02, "low": 0.01, "high": 0.03}
FIGURES = {
    "against_live": {"difference": 0.01, "low": -0.01, "high": 0.03},
    "simple_model": {"errors": {"majority": 0.5, "candidate": 0.1}},
    "calibration": {
        "bins": [
            {"confidence": 0.6, "accuracy": 0.5, "count": 10},
            {"confidence": 0.9, "accuracy": 1.0, "count": 20},
        ],
        "accuracy_of_surest": {"100%": 0.8, "50%": 1.0},
    },
    "confusion": {
        "classes": ["no", "yes"],
        "matrix": [[70, 3], [5, 22]],
        "pairs": [{"label": "yes", "answer": "no", "count": 5}],
        "wrong": [],
    },
    "explanations": {"gap": 0.1, "columns": {}, "answers": []},
    "slices": {
        "accuracy": 0.9,
        "slices": [
            {"name": "town=b", "count": 40, "accuracy": 0.7, "low": 0.6, "high": 0.8}
        ],
    },
    "fairness": {
        "by": {
            "sex": {
                "groups": {
                    "Female": {"count": 40, "tpr": 0.5, "fpr": 0.1},
                    "Male": {"count": 60, "tpr": 0.8, "fpr": None},
                },
                "gaps": {
                    "tpr": {"gap": 0.3, "low": 0.1, "high": 0.5},
                    "fpr": {"too_few": {"Male": 3}},
                },
            }
        }
    },
    "forgetting": {"spans": {"1": INTERVAL, "2": INTERVAL}},
    "robustness": {
        "clean": 0.9,
        "corruptions": {"gaussian_noise": [0.9, 0.8, 0.7, 0.6, 0.5]},
        "drop": INTERVAL,
    },
    "attack": {"clean": 0.9, "fgsm": 0.4, "pgd": 0.2, "live": {}},
    "out_of_distribution": {
        "sets": {"energy": {"noise": 0.9}, "probability": {"noise": 0.8}}
    },
    "behaviour": {
        "tests": [
            {
                "test": "invariance 'name'",
                "passed": False,
                "count": 10,
                "failed": 1,
                "allowed": 0.0,
                "shown": [{"before": {"town": "b"}, "after": {"town": "a"}}],
            }
        ]
    },
    "served": {"p50_ms": 1.0, "p95_ms": 2.0, "gaps": {"serve_raw/classes": 0.0}},
    "generation": {"perplexity": 5.0, "texts": {"drawn": {"memorised": 0.1}}},
    "energy": {"kwh": 0.001, "grams": 0.48, "is_estimated": True},
    "unheard_of": {"some_figure": 12.5, "table": [{"a": 1, "b": 2}], "drop": INTERVAL},
}
ENVIRONMENT = {"python": "3.11.2", "cores": 2, "packages": {"keras": "3.15.1"}}


def verdict(name, status="passed", **more):
    return {
        "status": status,
        "summary": f"{name} was measured",
        "refusals": [],
        "figures": FIGURES.get(name, {}),
    } | more


def facts(folder, *, verdicts=None, pushed=None, **more):
    """Return a run whose artifacts lie beside the folder `runs/1` of its pages.

    Args:
      folder: of the workspace.
      verdicts: of the exams; None for one of each, all passed.
      pushed: version and path, or None.
      more: replaces what stands here.
    """
    if verdicts is None:
        verdicts = {name: verdict(name) for name in ("metrics", *FIGURES)}
    refusals = [line for one in verdicts.values() for line in one["refusals"]]
    judged = {
        "summary": f"{len(verdicts)} exams",
        "blessed": not refusals,
        "refusals": refusals,
        "verdicts": verdicts,
    }
    return {
        "run": 1,
        "pipeline": "towns",
        "started": 1000.0,
        "ended": 1042.0,
        "status": "refused" if refusals else "done",
        "recipe": recipe(),
        "origin": None,
        "steps": steps(folder),
        "verdict": judged,
        "pushed": pushed,
    } | more


def recipe():
    examine = Examine(calibration={"error_at_most": 0.05}).model_dump(mode="json")
    return {
        "name": "towns",
        "data": {},
        "transform": {"label": {"feature": "kind", "classes": ["no", "yes"]}},
        "model": {"family": "mlp", "arguments": {"units": [8]}},
        "evaluate": {"metrics": {"AUC": {"at_least": 0.85, "at_most": None}}},
        "examine": examine,
    }


def steps(folder):
    figures = {
        "ingest": {
            "summary": "100 train",
            "source": "csv",
            "records": {"train": 100, "test": 10},
            "bad_rows": 0,
            "spans": [],
        },
        "validate": {"classes": {"no": 70, "yes": 30}, "hints": ["few examples"]},
        "train": {
            "parameters": 123,
            "updates": 10,
            "exported_epoch": 2,
            "stopped": None,
            "seconds": 1.5,
            "examples_per_second": 99.5,
            "strategy": "default",
            "replicas": 1,
            "precision": "float32",
            "epochs": [{"loss": 1.0, "val_loss": 1.1}, {"loss": 0.5, "val_loss": 0.9}],
        },
        "evaluate": {
            "metrics": {"binary_accuracy": 0.75, "auc": 0.8, "example_count": 10.0},
            "slices": {
                "town=a": {"binary_accuracy": 0.9, "auc": 0.9, "example_count": 5.0},
                "town=b": {"binary_accuracy": 0.6, "auc": 0.7, "example_count": 5.0},
            },
        },
        "examine": {},
        "judge": {},
    }
    keys = {
        "ingest": "examples",
        "validate": "verdict",
        "train": "model_run",
        "evaluate": "evaluation",
        "examine": "examination",
        "judge": "blessing",
    }
    return {
        name: {
            "run": 1,
            "reused": False,
            "seconds": 1.0,
            "error": None,
            "figures": found,
            "outputs": {keys[name]: str(folder / "artifacts" / name)},
        }
        for name, found in figures.items()
    }
