"""Backbone blocks shared by every model: convolutional blocks, latents, priors, motion."""
