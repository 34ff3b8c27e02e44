"""Distances between results and truths; ``configs/metric`` names them."""
