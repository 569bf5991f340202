"""Latent encoders: autoencoders and generative models, and what is made of their codes."""
