"""Models as configurations name them: what weights they need, what identifies them, and how they become priors."""
