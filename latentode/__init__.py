"""Latent ODE models of irregular time series."""
