"""What happens to the known region while an image is sampled; one rule a file."""
