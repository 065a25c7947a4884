"""What devices say of their health, for programs that watch houses and machines."""
