"""What a saved model is, in a few lines."""

from __future__ import annotations

from latentode.estimator import LatentODE
from latentode.frames import CategoryColumn, NumberColumn

__all__ = ["model_facts"]

_CLOCKS = {"number": "numbers", "datetime": "datetimes", "timedelta": "lengths of time"}


def model_facts(model: LatentODE) -> str:
    """Channels with their residual process and noise, sizes, solver, and how training went."""
    fitted, module = model.fitted_, model.module_
    roles, sizes, solver = fitted.roles, fitted.architecture, module.solver
    clock = _CLOCKS[fitted.clock.kind] + (" with a time zone" if fitted.clock.aware else "")
    n_weights = sum(weights.numel() for weights in module.parameters())
    history = model.history_
    best = history.loc[history["validation"].idxmax()] if history["validation"].notna().any() else None
    unit = "" if fitted.clock.kind == "number" else " s"
    lines = {
        "series": "a single one" if roles.is_single else f"named by {roles.id_name!r}",
        "times": f"{clock}, in {roles.time_name!r}" if roles.time_name is not None else clock,
        **({"static": ", ".join(map(_describe, fitted.statics.columns))} if roles.static_cols else {}),
        "task": f"{model.task}, z0 at the {model.origin} observation",
        "latent": f"{sizes.latent_dim} dimensions; field {_layers(sizes.field_units)}, encoder {sizes.encoder_units}, "
        f"decoder {_layers(sizes.decoder_units)}; {n_weights} weights in {model.dtype}",
        "solver": f"{solver.method}, knots every {solver.spacing:.4g} of {fitted.scaling.time_unit:.4g}{unit}",
        "trained": f"{model.n_iter_} steps, {history['seconds'].iloc[-1]:.0f} s",
    }
    if best is not None:
        lines["best"] = (
            f"step {best['iteration']:.0f}: {best['validation']:.3f} nats per withheld value (scaled), "
            f"KL {best['kl']:.2f} nats a series"
        )
    noise = module.likelihood.noise_variance.detach().sqrt().double().cpu().numpy() * fitted.scaling.spread
    laws = _laws(model)
    width = max(len(str(name)) for name in roles.value_cols)
    kernels = sizes.residual or ("none",) * len(roles.value_cols)
    channels = [
        f"  {name!s:{width}}  residual {kernel:8}  noise {sd:.4g}{law}  (centre {centre:.4g}, spread {spread:.4g})"
        for name, kernel, sd, law, centre, spread in zip(
            roles.value_cols, kernels, noise, laws, fitted.scaling.center, fitted.scaling.spread, strict=True
        )
    ]
    head = [f"{name:8} {value}" for name, value in lines.items()]
    return "\n".join(["a fitted LatentODE", *head, "channels", *channels])


def _laws(model: LatentODE) -> list[str]:
    """What there is to say of each channel's noise besides its standard deviation."""
    likelihood = model.module_.likelihood
    freedom = iter(likelihood.freedom.tolist() if "student_t" in likelihood.laws else [])
    of_scale = ", scale predicted" if likelihood.noise_scale == "predicted" else ""
    of_law = {"gaussian": lambda: "", "laplace": lambda: ", laplace"}
    return [
        of_law.get(law, lambda: f", student_t of {next(freedom):.3g} degrees")() + of_scale
        for law in likelihood.laws
    ]


def _describe(column: NumberColumn | CategoryColumn) -> str:
    if not column.n_features:
        return f"{column.name} (ignored, the same in all series)"
    if isinstance(column, CategoryColumn):
        return f"{column.name} ({', '.join(column.categories)})"
    return f"{column.name} (numbers)"


def _layers(units: tuple[int, ...]) -> str:
    return "-".join(map(str, units)) or "linear"
