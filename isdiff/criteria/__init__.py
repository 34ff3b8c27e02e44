"""What an attempt is judged by at the checkpoint; one criterion a file."""
