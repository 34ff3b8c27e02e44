"""Sampling in several processes: those of this machine, torchrun's, or Ray's."""
