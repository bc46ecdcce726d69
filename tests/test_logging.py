"""What a fit tells: to the logger, silent by default, and to the progress bar, where it is asked for."""

import logging
from dataclasses import replace

import pytest

from latentode import LatentODE
from latentode.fitting.messages import log_end
from latentode.fitting.progress import standing
from latentode.training import Record, TrainingOptions
from tests.conftest import make_frame


def quick(**settings):
    return LatentODE("patient", "hours", random_state=0, **({"max_iter": 3} | settings))


def record(iteration, recoveries=0, validation=-1.0, ended=""):
    done = Record(iteration, -1.0, -1.0, 1.0, validation, 0.01, 1.0, 0.1, 1e-4, recoveries, 2.0)
    return replace(done, ended=ended)


def test_a_fit_is_silent_by_default(capfd):
    quick(residual=None).fit(make_frame())
    # A warning too: no handler of last resort prints it.
    log_end([record(10, recoveries=2)], OPTIONS)
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("", "")


def test_the_logger_tells_what_was_chosen_and_how_it_ended(caplog):
    with caplog.at_level(logging.INFO, logger="latentode"):
        model = quick().fit(make_frame())
    told = [message.getMessage() for message in caplog.records if message.name == "latentode"]
    assert len(told) == 4
    assert told[0].startswith("fitting 12 series")
    assert "channels hr, temp, flat" in told[0]
    assert told[1] == f"kernels chosen by validation: {', '.join(model.residual_)}"
    assert "sizes: latent 5," in told[2]
    assert "at most 3 steps" in told[2]
    assert told[3].startswith("finished after 3 steps in ")


def test_kernels_that_were_given_are_not_said_to_be_chosen(caplog):
    with caplog.at_level(logging.INFO, logger="latentode"):
        quick(residual=None).fit(make_frame())
    assert not [message for message in caplog.messages if "kernels" in message]


def test_an_early_stop_and_recoveries_are_told(caplog):
    with caplog.at_level(logging.INFO, logger="latentode"):
        log_end(
            [record(5, validation=-0.5), record(7, recoveries=2, ended="patience")],
            replace(OPTIONS, max_iter=10),
        )
        log_end([record(10, validation=float("nan"))], replace(OPTIONS, select=False))
    assert "stopped early at step 7 of 10" in caplog.messages[0]
    assert caplog.records[1].levelno == logging.WARNING
    assert "not finite 2 times" in caplog.messages[1]
    assert "best validation -0.500 nats" in caplog.messages[2]
    assert "last validation none" in caplog.messages[3]


@pytest.mark.parametrize(("verbose", "shown"), [(0, False), (1, True)])
def test_the_bar_goes_to_standard_error_where_it_is_asked_for(verbose, shown, capfd):
    quick(verbose=verbose, residual=None).fit(make_frame())
    captured = capfd.readouterr()
    assert captured.out == ""
    assert ("fitting: 100%" in captured.err) is shown
    assert ("ELBO" in captured.err) is shown


OPTIONS = TrainingOptions(max_iter=100, patience=10)


@pytest.mark.parametrize(
    ("validations", "said"),
    [
        ([float("nan")], "ELBO -1.000"),
        ([-3, -2], "ELBO -1.000, validation -2.000 (the best)"),
        ([-3, -1, -2], "ELBO -1.000, validation -2.000 (best -1.000 at 20)"),
        # Patience counts from where the residual process has taken over, after step 60.
        ([-3] * 5 + [-1, -2, -2], "validation -2.000 (best -1.000 at 60), 2 of 10 checks to an early stop"),
        ([-1] + [-2] * 7, "validation -2.000 (best -1.000 at 10), 2 of 10 checks to an early stop"),
        ([-3] * 6 + [-2, -1], "ELBO -1.000, validation -1.000 (the best)"),
    ],
)
def test_the_bar_says_how_near_an_early_stop_is(validations, said):
    history = [record(10 * (number + 1), validation=value) for number, value in enumerate(validations)]
    assert standing(history, OPTIONS).endswith(said)


def test_the_bar_promises_no_early_stop_where_weights_are_not_selected():
    history = [record(10 * (number + 1), validation=-number) for number in range(9)]
    assert "early stop" in standing(history, OPTIONS)
    assert standing(history, replace(OPTIONS, select=False)).endswith("(best 0.000 at 10)")


def test_the_bar_counts_as_training_does(monkeypatch):
    """An early stop comes at the check at which the bar says that all are used up."""
    shown = []
    monkeypatch.setattr("latentode.fitting.progress.FitBar.show", lambda _, one: shown.append(one))
    quick(residual=None, max_iter=80, patience=2, learning_rate=0.5, field_units=(8,)).fit(make_frame())
    assert shown[-1].ended == "patience"
    options = TrainingOptions(max_iter=80, patience=2)
    counts = [
        standing(shown[: n + 1], options).endswith("2 of 2 checks to an early stop")
        for n in range(len(shown))
    ]
    assert counts == [False] * (len(shown) - 1) + [True]
    assert shown[-1].iteration < 80
