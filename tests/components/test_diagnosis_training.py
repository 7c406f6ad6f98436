"""What the course of a training says about why its model is bad."""

from components.diagnosis import Evidence, training


def course(*losses, updates=1000, parameters=5000, accuracy=0.9):
    epochs = [{"loss": loss, "accuracy": accuracy} for loss in losses]
    return {"epochs": epochs, "updates": updates, "parameters": parameters}


def found(ours, theirs=None, **simple):
    run = Evidence(2, {}, training=ours, simple=simple)
    reference = Evidence(1, {}, training=theirs) if theirs else None
    return {one.cause: one for one in training.look(run, reference)}


def test_few_updates_and_a_higher_loss_are_undertraining():
    got = found(course(1.5, updates=20), course(1.5, 0.5))
    assert list(got) == ["undertraining"]
    assert got["undertraining"].strength == 0.98
    assert got["undertraining"].text == (
        "20 updates were made, 1,000 in run 1, and the training loss ended at 1.5000, "
        "there at 0.5000"
    )


def test_few_weights_and_a_higher_loss_are_a_lack_of_capacity():
    got = found(course(1.5, parameters=50), course(0.5))
    assert {name: one.strength for name, one in got.items()} == {"capacity": 0.99}


def test_a_training_that_learned_as_well_lacks_nothing():
    assert not found(course(0.5, updates=20, parameters=50), course(0.5))


def test_a_higher_loss_of_as_long_a_training_is_explained_by_nothing_here():
    assert not found(course(0.9), course(0.5))


def test_without_an_earlier_run_a_loss_that_falls_is_undertraining():
    got = found(course(5.0, 4.0, 3.0, 2.0, 1.0))
    assert got["undertraining"].strength == 0.25
    assert not found(course(5.0, 2.0, 1.1, 1.0, 1.0))


def test_without_an_earlier_run_a_better_simple_model_is_a_lack_of_capacity():
    flat = course(1.0, 1.0, accuracy=0.75)
    assert list(found(flat, trees=0.85)) == ["capacity"]
    assert not found(flat, trees=0.7)


def test_the_higher_of_the_accuracies_counts():
    dropped_out = course(1.0, 1.0, accuracy=0.75)
    dropped_out["epochs"][-1]["val_accuracy"] = 0.9
    assert not found(dropped_out, trees=0.85)
    assert found(dropped_out, trees=0.95)["capacity"].figures["accuracy"] == 0.9


def test_nothing_is_said_of_what_was_not_trained():
    assert not found(None)
