"""Distances between results and truths, one short file each; ``configs/metric`` names them."""
