"""What --help says of each command: a line for the list of commands, then the rest, with examples."""

__all__ = [
    "DEMO",
    "DESCRIBE",
    "ENCODE",
    "EVALUATE",
    "FIT",
    "FORECAST",
    "HELP",
    "IMPUTE",
    "PLOT",
    "PREDICT",
    "SAMPLE",
    "SCORE",
]

HELP = """\
Latent ODE models of irregular time series, from a table to forecasts with bands.

  latentode describe labs.csv --id patient --time drawn_at
  latentode fit labs.csv --id patient --time drawn_at --out labs.latentode
  latentode forecast labs.latentode labs.csv --horizon 48h --steps 8 --level 90 --out ahead.csv
  latentode plot labs.latentode labs.csv --series p17 --horizon 48h --out p17.png

Tables are .csv, .csv.gz, .tsv or .parquet files (these with pyarrow), by their suffix; - is CSV on standard input or
output. A table has a row for each (series, time), a column for each channel, and empty cells where nothing was
measured.
`latentode COMMAND --help` has each command's options and examples.
"""

FIT = """\
Fit a model to a table and save it.

  latentode fit storms.csv --id storm --time time --values lat long wind pressure \\
      --task extrapolate --set max_iter=600 residual=ou --out storms.latentode
"""

PREDICT = """\
Answer with the posterior mean (or median) and bands, at the rows of the table or at times asked for.

  latentode predict labs.latentode labs.csv --level 90 --out filled.csv
  latentode predict labs.latentode labs.csv --at 2026-03-01T12:00 2026-03-02T12:00
  latentode predict labs.latentode labs.csv --times asked.csv --level 50 90
"""

FORECAST = """\
Answer at equal steps beyond each series' last observation.

  latentode forecast labs.latentode labs.csv --horizon 48h --steps 8 --level 90 --out ahead.parquet
"""

IMPUTE = """\
Fill the table's empty cells by the posterior mean; what was observed stays.

  latentode impute labs.latentode labs.csv --out filled.csv
"""

SAMPLE = """\
Draw trajectories jointly from the posterior.

They stand at the rows of the table or at times asked for, a row for each series, sample and time.

  latentode sample labs.latentode labs.csv --samples 100 --at 2026-03-01T12:00 2026-03-02T12:00 --out paths.parquet
"""

ENCODE = """\
Answer with each series' latent state z0, mean and standard deviation: features for another model.

  latentode encode labs.latentode labs.csv --out features.csv
"""

SCORE = """\
Print the mean log predictive density of withheld points, or with --by-row how surprising each value is.

In nats per value and unit of the data, as is said on standard error; higher is better, and comparable between models
of the same data only.

  latentode score labs.latentode unseen.csv
  latentode score labs.latentode labs.csv --by-row --out surprise.csv
"""

EVALUATE = """\
Print errors, CRPS and coverage by lead time beside those of trivial answers.

And say in words where the model does not win. Give it series that no fit has seen; with --train, the table of the
fit, a ridge regression is among the rivals. Or give it the series of the fit, longer by what came since, and with
--after the time up to which they were fitted: what is later is asked, what is before is known.

  latentode evaluate labs.latentode unseen.csv --train labs.csv --leads 6h 24h 48h --out errors.csv
  latentode evaluate log.latentode log.csv --after 2026-03-01T12:00 --leads 6h 24h 48h
"""

PLOT = """\
Draw a table's observations, or what a model makes of them; .png, .pdf or .svg by the suffix.

  latentode plot labs.csv --id patient --time drawn_at --out raw.png
  latentode plot labs.latentode labs.csv --series p17 p20 --channels potassium --horizon 48h --out p17.pdf
  latentode plot labs.latentode labs.csv --kind embedding --color ward --out wards.png
  latentode plot labs.latentode --kind history --out training.png
"""

DESCRIBE = """\
Describe a table before a fit, or a saved model.

Of a table it says what is there, what fit would refuse and what looks like a mistake; of a model what was learned:
errors on what was withheld beside the trivial answers, whether bands hold, noise, the latent state, the solver.

  latentode describe labs.csv --id patient --time drawn_at --static age sex
  latentode describe labs.latentode
"""

DEMO = """\
Fit 485 Atlantic storms, forecast 118 later ones, and print the errors beside those of simpler answers.

Tables and figures are written to out/. Takes a minute or two, with --quick half of one.

  latentode demo --quick
"""
