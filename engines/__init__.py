"""What a model is, how its engine is made, and how it is run. Knows no faces and no settings."""
