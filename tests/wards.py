"""A frame of sound measurements, and what a report finds in it."""

import numpy as np
import pandas as pd


def ward(n_series=12, n_rows=20, seed=0):
    """Sound measurements of three kinds, positive all, at odd hours."""
    random = np.random.default_rng(seed)
    rows = n_series * n_rows
    return pd.DataFrame(
        {
            "patient": np.repeat([f"p{k}" for k in range(n_series)], n_rows),
            "hours": np.sort(random.uniform(0, 48, (n_series, n_rows)), axis=1).ravel(),
            "hr": random.normal(80, 12, rows),
            "temp": random.normal(37, 0.6, rows),
            "creatinine": np.exp(random.normal(0, 0.3, rows)),
        }
    )


def found(report, kind):
    return [finding for finding in report.findings if finding.kind == kind]


def the_one(report, kind):
    findings = found(report, kind)
    assert len(findings) == 1, str(report)
    return findings[0]
