"""Scripts and recipes that made the numbers and weights of ours."""
