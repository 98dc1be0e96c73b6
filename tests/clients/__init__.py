"""Real clients, a scripted model and a whole experiment: `make clients`. They need npm packages, about 1.5 GB."""
