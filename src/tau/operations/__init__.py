"""What is done with runs as a whole, beside running them."""
