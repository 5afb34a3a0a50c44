"""The trainers that read our exports, in an environment of their own: `make consumers`."""
